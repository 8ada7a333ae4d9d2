"""Chinese for what the trackers state."""

from __future__ import annotations

ZH: dict[str, str] = {
    "Record of this run in {tracker}": "本次运行在 {tracker} 中的记录",
    "the tracker failed, and the run went on without it: {error}": "跟踪器出错，运行未受影响并已继续：{error}",
}
