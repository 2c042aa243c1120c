"""Sizes of a model as Hugging Face names them."""

from max_whisper.models.whisper.dimensions import ModelDimensions


def huggingface_sizes(dims: ModelDimensions) -> dict[str, int]:
    """Dimensions under the names of a Hugging Face configuration."""
    return {
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "max_target_positions": dims.n_text_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "decoder_attention_heads": dims.n_text_head,
        "encoder_layers": dims.n_audio_layer,
        "decoder_layers": dims.n_text_layer,
        "vocab_size": dims.n_vocab,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "decoder_ffn_dim": 4 * dims.n_text_state,
    }
