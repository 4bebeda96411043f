"""sleap-rtc's own client, unmodified, as a program: `real_client.py ROOM SPEC`.

Every word that its callbacks are given goes to stdout as one JSON object a line. Where it signs in
and whom it takes for the server is in its own files and variables (`HOME`,
`SLEAP_RTC_SIGNALING_WS`).
"""

import json
import sys

from sleap_rtc import api
from sleap_rtc.jobs.spec import TrainJobSpec


def say(event: str, **fields) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def main() -> None:
    room, action, argument = sys.argv[1:]
    try:
        if action == "train":
            result = api.run_training(
                room_id=room,
                spec=TrainJobSpec.from_json(argument),
                on_log=lambda text: say("log", text=text),
                on_raw_progress=lambda report: say("progress", report=report),
                on_model_type=lambda model: say("model_type", model=model),
                on_inference_message=lambda word, data: say("inference", word=word, data=data),
                timeout=120,
            )
            say("result", success=result.success, epoch=result.final_epoch, path=result.model_path)
        else:
            checked = api.check_video_paths(argument, room)
            say("result", path=checked.slp_path, videos=checked.total_videos)
    except Exception as error:
        say("error", kind=type(error).__name__, message=str(error))


if __name__ == "__main__":
    main()
