import shutil
import subprocess

import golden_files
import pytest

from mmjax.evals.scorers import ptb

SETS = ("coco_fakecap126", "flickr8k_human500", "edge_cases")


@pytest.mark.parametrize("name", SETS)
def test_tokens_are_those_of_stanfords_tokenizer_on_the_golden_sets(golden, name):
    items = golden_files.read(golden / f"captions/{name}.json.gz")["items"]
    for item in items:
        written = [item["candidate"], *item["references"]]
        expected = [item["candidate_tok"], *item["references_tok"]]
        # The official wrapper leaves two blanks where it drops a token between others.
        assert [ptb.tokenize(text) for text in written] == [
            text.split() for text in expected
        ]


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("Two dogs (one black) run.", "two dogs -lrb- one black -rrb- run"),
        ("[a] {b} <angle>", "-lsb- a -rsb- -lcb- b -rcb- <angle>"),
        ("Don't! It\u2019s the dog's, isn't it?", "do n't it 's the dog 's is n't it"),
        ("he cannot, gonna, wanna, gimme", "he can not gon na wan na gim me"),
        ("$3.50 at 7:30 p.m. in the U.S.", "$ 3.50 at 7:30 p.m. in the u.s."),
        ("Dr. Smith's T-shirt, size XL/XXL...", "dr. smith 's t-shirt size xl/xxl"),
        ("wow!! what?? yes! no?", "wow !! what ?? yes no"),
        ("sit.stand on St. James st.", "sit.stand on st. james st."),
        ("the dogs' toys & rock 'n' roll", "the dogs toys & rock 'n' roll"),
        ("half-eaten -- cake - with a 5-6 inch", "half-eaten cake with a 5-6 inch"),
        ("#1 #cats @ the zoo", "# 1 #cats @ the zoo"),
        ("one\ntwo", "one two"),
        ("\u00bd cup for \u00a35 \U0001f600", "1/2 cup for # 5"),
        ("", ""),
        (". , ! '' -", ""),
    ],
)
def test_each_rule_by_an_example_that_the_official_tokenizer_gave(caption, tokens):
    assert ptb.tokenize(caption) == tokens.split()


@pytest.mark.extra
def test_real_questions_and_captions_differ_from_stanfords_in_one_of_a_thousand(
    real_data, tmp_path
):
    """Java and the tokenizer's jar, which pycocoevalcap brings, are needed."""
    tokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    listed = golden_files.read(real_data / "captions/flickr8k_1000/captions.jsonl")
    texts = [text for record in listed for text in record["captions"]]
    for name in ("textvqa_val", "vizwiz_val"):
        records = golden_files.read(real_data / f"vqa/{name}.jsonl.gz")
        texts += [" ".join(record["question"].split()) for record in records]
    given = {i: [{"caption": text}] for i, text in enumerate(texts)}
    try:
        expected = tokenizer.PTBTokenizer().tokenize(given)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the tokenizer doesn't run here: {error}")
    differ = [
        text
        for i, text in enumerate(texts)
        if ptb.tokenize(text) != expected[i][0].split()
    ]
    assert len(differ) <= len(texts) // 1000, differ[:10]
