"""The index's search core, written in C++ (`retrieval/index/native`)."""

def instruction_sets() -> list[str]:
    """Names of the instruction sets that this processor supports, best first.

    `"avx512"` (F, BW, DQ, VL and VNNI), `"avx2"` (AVX2 and FMA), and always `"portable"`.
    """
