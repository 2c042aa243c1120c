"""The sizes that define a Whisper model."""

from dataclasses import asdict, dataclass

ENGLISH, MULTILINGUAL, LARGE_V3 = 51864, 51865, 51866  # tokens of Whisper's three vocabularies


@dataclass(frozen=True)
class ModelDimensions:
    """The ten numbers of a Whisper checkpoint, under openai-whisper's names (whisper/model.py)."""

    n_mels: int  # mel bins: 80, or 128 from large-v3 on
    n_audio_ctx: int  # encoder positions: 1500, one for each 20 ms of a 30 s window
    n_audio_state: int  # encoder width
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int  # ENGLISH, MULTILINGUAL, or LARGE_V3 from large-v3 on
    n_text_ctx: int  # decoder positions: 448
    n_text_state: int  # decoder width, the same as the encoder's
    n_text_head: int
    n_text_layer: int

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary has language and task tokens."""
        return self.n_vocab >= MULTILINGUAL

    @property
    def num_languages(self) -> int:
        """How many language tokens the vocabulary has: 99, or 100 from large-v3 on."""
        return self.n_vocab - 51765 - int(self.is_multilingual)

    def to_dict(self) -> dict[str, int]:
        """The dimensions as openai-whisper's `dims` dictionary."""
        return asdict(self)
