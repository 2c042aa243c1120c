"""The JSON files that lie beside a model's weights."""

import json
from pathlib import Path
from typing import Any

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file. Raises CheckpointError where it holds none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({one_line(error)}); download it again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds no JSON object; download it again")
    return content
