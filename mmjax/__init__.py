"""mmjax pre-trains multimodal language models the MM1 way, in JAX.

Every array says its shape in the last part of its name, one letter an axis. The
letters mean the same everywhere in the project:

    B  rows in a batch (Z x R)          V  vocabulary
    Z  pool groups of a batch           I  images in a batch (Z x C)
    R  rows of a group                  P  patches of an image
    C  image slots of a group           Q  tokens of an image after the connector
    T  tokens in a row (as queries)     L  layers (the scanned axis)
    S  tokens attended to (as keys)     X  experts
    D  width of the decoder             N  query heads
    E  width of the encoder             K  key-value heads
    F  hidden width of an MLP           G  query heads per key-value head
    h, w, c  pixels; p  of a patch      H  head size
    J  tokens of several rows           A  experts that a token goes to
    M  slots of the experts' buffers    U  images of a row that it attends to
    W  tokens of the text beside an image
    Y  width of vectors of pairs        O  documents of a group
    b  vectors that come by in a block
"""

__version__ = "0.1.0"
