"""The sizes of Whisper's audio input, which are those of openai-whisper (whisper/audio.py)."""

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples in an STFT window, 25 ms
HOP_LENGTH = 160  # samples between two mel frames, 10 ms
CHUNK_LENGTH = 30  # seconds in a window of the encoder
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE  # 480,000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3,000 mel frames in a window
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH  # 100 mel frames
