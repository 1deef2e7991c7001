"""bench.catalog.cudnn_names: names as published profiles of others' cards show them; no GPU of ours has."""

from __future__ import annotations

import pytest

from bench.catalog.cudnn_names import cudnn_kernel_words


@pytest.mark.parametrize(
    ("names", "words"),
    [
        # a data-centre card, a GRU of 128 units in float32 with TF32 allowed
        (
            [
                "aten::_cudnn_rnn",
                "RNN_blockPersist_fp_GRU<f,f,f,128>",
                "cutlass_80_tensorop_s1688gemm_128x256_16x3_tn_align4",
            ],
            "cudnn (persistent; tensor cores, TF32)",
        ),
        # an RTX card, an LSTM in float32
        (
            [
                "void RNN_blockPersist_fp_LSTM<float, float, float, 128>(",
                "void cutlass::Kernel2<cutlass_80_simt_sgemm_256x128_8x4_nn_align1>",
            ],
            "cudnn (persistent; no tensor cores)",
        ),
        (["RNN_blockPersist_fp_LSTM_HMMA<__half>"], "cudnn (persistent; tensor cores)"),
        (["LSTM_elementWise_fp<float>", "ampere_sgemm_32x128_tn"], "cudnn (standard; no tensor cores)"),
        (["elemWiseRNNcell<__half>", "ampere_fp16_s1688gemm_fp16_128x64"], "cudnn (standard; tensor cores)"),
        (["sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n", "LSTM_elementWise_bp1"], "cudnn (standard; tensor cores, TF32)"),
        (["aten::_cudnn_rnn"], "cudnn"),
        (["CudnnRNNV3", "CudnnRNNBackpropV3"], "cudnn"),
    ],
)
def test_which_of_cudnns_kernels_it_was_is_read_from_the_names(names: list[str], words: str) -> None:
    assert cudnn_kernel_words("cudnn", names) == words


def test_what_is_not_cudnn_is_called_as_it_is() -> None:
    assert cudnn_kernel_words("generic", ["RNN_blockPersist_fp_GRU", "tensorop"]) == "generic"
