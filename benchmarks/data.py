"""How fast rows are materialized, against bare decoding and resizing, on one core.

    python -m benchmarks.data                      # images of the sample world
    python -m benchmarks.data --images=DIR         # photos of a folder
    python -m benchmarks.data --images=DIR --prepared=448     # brought to 448 pixels
    python -m benchmarks.data --images=DIR --resize warp crop --tiling none mm1 anyres
    python -m benchmarks.data --short              # that all of it runs

Then the loaders that users know are compared, as `benchmarks.loaders.compare` tells;
those that aren't installed (pip install -e '.[compare]') are named.

Both sides of the first table decode the same images, in turn, round by round; rates
are per second of CPU time of the process, so other work on the machine disturbs them
little. "bare" is simplejpeg and OpenCV on bytes in memory, each image warped to one
square. "rows" is everything that a batch needs, in one thread of the loader: planning,
reading shards, decoding into the batch, tokens, targets, masks and segments, joining
groups. The aim is rows >= 80 % of bare on photos; what isn't decoding costs 50 to 80
microseconds a document, more than a tiny image does. A tiled image is one image, and
its bare decoding is that of the square alone.
"""

import argparse
import io
import itertools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import PIL.Image
import simplejpeg

import data_pipelines
from benchmarks.loaders import compare
from benchmarks.loaders.base import Photo, Setup
from data_pipelines import index, pipeline, resizing, shards, tokenizer
from data_pipelines.batches import Pipeline
from data_pipelines.prepare import photos, sample_world
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from mmjax import config as config_lib
from mmjax.config import Config, Mixture, Preprocessing, Source

CAPTION = "A photograph of people, animals and things outdoors, number {}, in daylight."

CHOICES = {
    "resize": config_lib.IMAGE_RESIZES,
    "interpolation": config_lib.INTERPOLATIONS,
    "tiling": config_lib.TILINGS,
}


class Rates(NamedTuple):
    """Per second of CPU time."""

    images: float  # whole ones, of all their crops
    tokens: float  # positions of documents, image tokens among them


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=pathlib.Path, help="folder of JPEG files")
    parser.add_argument("--image_size", type=int, nargs="+", help="default 224 378")
    parser.add_argument("--image_tokens", type=int, default=144)
    for name, allowed in CHOICES.items():
        parser.add_argument(
            f"--{name}", nargs="+", choices=allowed, default=allowed[:1],
            help="one or several; default: %(default)s",
        )  # fmt: skip
    parser.add_argument("--row_tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=4, help="of 8 rows, in a round")
    parser.add_argument("--prepared", type=int, help="longest side, before all else")
    parser.add_argument("--copies", type=int, default=4, help="documents of a photo")
    parser.add_argument("--only", choices=("rows", "loaders"), help="default: both")
    parser.add_argument("--short", action="store_true", help="tiny and meaningless")
    args = parser.parse_args()
    if args.short:
        args.rounds, args.batches, args.row_tokens = 1, 1, 1024
    with tempfile.TemporaryDirectory() as root:
        what = prepare(pathlib.Path(root), args)
        if args.only != "loaders":
            rows_table(what, root, args)
        if args.only != "rows":
            loaders_table(what, root, args)


def rows_table(what: str, root: str, args: argparse.Namespace) -> None:
    """Bare decoding against rows, and rows of text alone."""
    print(f"{what}; medians of {args.rounds} rounds, per CPU second")
    print("| rows | pixels | bare images/s | images/s | tokens/s | ratio |")
    print("|---|---|---|---|---|---|")
    sizes = args.image_size or ([224, 378] if args.images else [64])
    alternatives = itertools.product(*(getattr(args, name) for name in CHOICES))
    for size, named in itertools.product(sizes, alternatives):
        how = Preprocessing(**dict(zip(CHOICES, named)))
        opened = pipeline.open(make_config(root, "captions", size, args, how))
        print(image_line(opened, f"captions, {' '.join(named)}", size, args))
    text = pipeline.open(make_config(root, "text", 16, args, Preprocessing()))
    rates = [measure(text, steps) for steps in rounds(args)]
    tokens = statistics.median(rate.tokens for rate in rates)
    print(f"| text | | | | {tokens:,.0f} | |")


def loaders_table(what: str, root: str, args: argparse.Namespace) -> None:
    """Ours against the loaders that users know."""
    size = args.image_size[-1] if args.image_size else 336 if args.images else 64
    count = min(args.rounds, 3)
    task = f"loaders at {size} px, rows of {args.row_tokens} tokens: {what}"
    print(f"\n{task}; medians of {count} rounds, rates per CPU second")
    setup = Setup(
        root=root, folder=f"{root}/loaders", documents=0, image_size=size,
        image_tokens=args.image_tokens, row_tokens=args.row_tokens, rows=8, seed=0,
        workers=0, decoder="fast",
    )  # fmt: skip
    reader = ShardReader(f"{root}/captions/train")
    photos = (as_photo(reader.document(number)) for number in range(len(reader)))
    for line in compare.table(photos, setup, count):
        print(line, flush=True)


def as_photo(document: Document) -> Photo:
    """A caption document as the loaders of others take it."""
    image, text = document.segments
    assert isinstance(image, Image)
    assert isinstance(text, Text)
    return Photo(image.data, text.text)


def prepare(root: pathlib.Path, args: argparse.Namespace) -> str:
    """Makes captions/train and text/train in `root`; says what they are."""
    folder = args.images
    if folder is None:
        spec = config_lib.SampleWorld(
            captions=300 if args.short else 2000, interleaved=100,
            texts=100 if args.short else 1000, heldout=10, questions=10,
        )  # fmt: skip
        sample_world.ensure(root, spec, progress=False)
        return "images of the sample world"
    files = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")
    )
    if not files:
        raise SystemExit(f"--images={folder}: no .jpg or .jpeg files")
    data = [resized(path.read_bytes(), args.prepared) for path in files]
    captions = [photo(d, n) for n, d in enumerate(data * args.copies)]
    source = pathlib.Path(data_pipelines.__file__).parent.parent
    texts = [Document((Text(p.read_text()),)) for p in source.rglob("mmjax/**/*.py")]
    flat = [s.text for d in captions + texts for s in d.segments if isinstance(s, Text)]
    words = tokenizer.train(flat, root / "tokenizer.model", 2000)
    for name, documents in (("captions", captions), ("text", texts)):
        shards.write(root / name / "train", documents, 2)
        index.build(root / name / "train", words)
    sides = f" at {args.prepared} px" if args.prepared else ""
    return f"{len(files)} photos{sides}, {args.copies} captions each"


def resized(data: bytes, side: int | None) -> bytes:
    """A JPEG whose longest side is so many pixels, as preparation makes them."""
    if not side:
        return data
    with PIL.Image.open(io.BytesIO(data)) as opened:
        scale = side / max(opened.size)
        size = (round(opened.width * scale), round(opened.height * scale))
        small = opened.convert("RGB").resize(size, PIL.Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=photos.QUALITY)
    return file.getvalue()


def photo(data: bytes, number: int) -> Document:
    """A caption document of a JPEG file."""
    height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
    return Document((Image(data, width, height), Text(CAPTION.format(number))))


def make_config(
    root: str, source: str, size: int, args: argparse.Namespace, how: Preprocessing
) -> Config:
    """Rows of one source alone, made by one thread."""
    return Config(
        steps=args.batches * (args.rounds + 1),
        model=config_lib.Model(
            vit=config_lib.ViT(image_size=size),
            connector=config_lib.Connector(tokens=args.image_tokens),
            preprocessing=how,
        ),
        data=config_lib.Data(
            root=root,
            sources=(Source(source),),
            row_tokens=args.row_tokens,
            rows_per_batch=8,
            rows_per_pool=4,
            pool_multiple=4,
            block_batches=args.batches,
            threads=1,
            prefetch=1,
        ),
        mixture=Mixture(weights=(1,)),
    )


def rounds(args: argparse.Namespace) -> Iterator[range]:
    """Batches of each round; those before the first warm everything up."""
    for start in range(args.batches, args.batches * (args.rounds + 1), args.batches):
        yield range(start, start + args.batches)


def image_line(opened: Pipeline, name: str, size: int, args: argparse.Namespace) -> str:
    """A line of the table: bare decoding and materialization in turn."""
    measure(opened, range(args.batches))
    ratios, rates, bares = [], [], []
    for steps in rounds(args):
        data = encoded(opened, steps)
        bare = bare_rate(data, size)
        rate = measure(opened, steps)
        again = bare_rate(data, size)
        bares.append((bare + again) / 2)
        rates.append(rate)
        ratios.append(rate.images / bares[-1])
    median = statistics.median
    return (
        f"| {name} | {size} | {median(bares):,.0f} "
        f"| {median(rate.images for rate in rates):,.0f} "
        f"| {median(rate.tokens for rate in rates):,.0f} | {median(ratios):.0%} |"
    )


def encoded(opened: Pipeline, steps: range) -> list[bytes]:
    """The encoded images of some batches."""
    return [
        segment.data
        for step in steps
        for group in opened.documents_of(step)
        for row in group
        for place in row
        for segment in opened.document(*place).segments
        if isinstance(segment, Image)
    ]


def bare_rate(data: list[bytes], size: int) -> float:
    """Images a CPU second of nothing but decoding and resizing."""
    out_hwc = np.empty((size, size, 3), np.uint8)

    def decode() -> None:
        for image in data:
            side = min(map(int, simplejpeg.decode_jpeg_header(image)[:2]))
            least = size if side >= 2 * size else 0
            pixels_hwc = simplejpeg.decode_jpeg(
                image, min_height=least, min_width=least
            )
            if pixels_hwc.shape != out_hwc.shape:
                resizing.area(pixels_hwc, out_hwc)

    return len(data) / cpu_seconds(decode)


def measure(opened: Pipeline, steps: range) -> Rates:
    """Images and tokens of batches a CPU second."""
    images = sum(int(opened.plan.step_counts(n)["images"].sum()) for n in steps)
    tokens = 0

    def materialize() -> None:
        nonlocal tokens
        for batch in opened.batches(steps.start, steps.stop):
            tokens += int((batch.segments_ZRT > 0).sum())

    seconds = cpu_seconds(materialize)
    return Rates(images / seconds, tokens / seconds)


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time that all threads of the process spend on it."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
