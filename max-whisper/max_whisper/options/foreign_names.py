"""Names that options have in other programs, and what takes their place here."""

_LOADING = "it is an option of load_model"
_SAVING = "it is an option of Transcription.save"
_TEMPERATURES = "give all temperatures as temperature, such as (0.0, 0.2, 0.4)"
_THREADS = "threads is an option of load_model"
_WINDOWS = "windows have 30 s, as the models were trained; long recordings need no option"
_CACHE = "set MAX_WHISPER_CACHE in the environment"
_SEVERAL = "transcribe_many takes several recordings, and the command line has --workers"

FOREIGN_NAMES = {
    # openai-whisper
    "verbose": "the command line prints; in a program, stream() gives the segments as they come",
    "fp16": "compute_type of load_model says how numbers are kept",
    "prompt": "give initial_prompt",
    "temperature_increment_on_fallback": _TEMPERATURES,
    "threads": _LOADING,
    "model_dir": _CACHE,
    "device": _LOADING,
    "highlight_words": _SAVING,
    "max_line_width": _SAVING,
    "max_line_count": _SAVING,
    "max_words_per_line": _SAVING,
    # faster-whisper
    "compute_type": _LOADING,
    "log_prob_threshold": "give logprob_threshold",
    "log_progress": "give a function as progress",
    "chunk_length": _WINDOWS,
    "language_detection_threshold": "give language_detection_segments, whose probabilities are averaged",
    "cpu_threads": _THREADS,
    "num_workers": _SEVERAL,
    # Hugging Face transformers
    "num_beams": "give beam_size",
    "do_sample": "give temperature",
    "prompt_ids": "give initial_prompt",
    "condition_on_prev_tokens": "give condition_on_previous_text",
    "return_timestamps": "give word_timestamps or without_timestamps",
    "return_language": "the result has it as language",
    "chunk_length_s": _WINDOWS,
    "sampling_rate": "give sample_rate",
    "generate_kwargs": "give its entries as options themselves",
    # whisper.cpp
    "no_timestamps": "give without_timestamps",
    "logprob_thold": "give logprob_threshold",
    "no_speech_thold": "give no_speech_threshold",
    "entropy_thold": "give compression_ratio_threshold",
    "temperature_inc": _TEMPERATURES,
    "translate": "give task='translate'",
    "vad": "give vad_filter",
    "n_threads": _THREADS,
}

FOREIGN_LOADING_NAMES = {
    # openai-whisper
    "name": "give the name or path as model",
    "download_root": _CACHE,
    "in_memory": "leave it away; files are read in a way that needs no choice",
    # faster-whisper
    "model_size_or_path": "give the name or path as model",
    "device_index": "leave it away; CUDA_VISIBLE_DEVICES in the environment chooses a GPU",
    "cpu_threads": "give threads",
    "num_workers": _SEVERAL,
    "local_files_only": "set HF_HUB_OFFLINE=1 in the environment",
    "use_auth_token": "set HF_TOKEN in the environment",
    # Hugging Face transformers
    "torch_dtype": "give compute_type",
    "dtype": "give compute_type",
    "device_map": "give device",
    "token": "set HF_TOKEN in the environment",
    # whisper.cpp
    "n_threads": "give threads",
}

# Where the command line has another way than the library.
FOREIGN_ON_THE_COMMAND_LINE = {
    "fp16": "--compute-type says how numbers are kept",
    "log_progress": "leave it away; a terminal shows a bar",
    "cpu_threads": "give --threads",
    "n_threads": "give --threads",
    "num_workers": "give --workers",
    "return_language": "json has the language, and the command language tells it",
    "generate_kwargs": "give its entries as options themselves",
    "temperature_inc": "give --temperature-increment-on-fallback",
    "translate": "give --task translate",
    "vad_parameters": "its fields are options, such as --vad-threshold 0.6",
    **{name: FOREIGN_LOADING_NAMES[name] for name in ("download_root", "local_files_only", "use_auth_token")},
}
