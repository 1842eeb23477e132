"""Steps of a turn that only Slack has, at which the process is killed."""

from __future__ import annotations

from tests.failures.kills import PICTURE, Step, held_call, silence, until_asked, until_held
from tests.failures.slack.world import slack_of
from tests.failures.table import DRAW, LAST_WORDS, LONG
from tests.failures.world import World

# In Slack five minutes (https://docs.slack.dev/apis/events-api#retries); here longer than a start on a busy machine.
LAST_TRY_S = 15.0


async def _unheard(world: World) -> None:
    """Keep every acknowledgement from reaching Slack."""
    await silence(world)
    slack_of(world).freeze_sockets()


async def _unstored(world: World) -> None:
    """Die before the question is stored; Slack sends it for the last time when the bot is there again."""
    slack_of(world).retry_gaps_s = (0.0, 0.3, LAST_TRY_S)
    world.driver.hold_next("users.info", is_done=False)


def _with_file(name: str, call: str, *, is_done: bool) -> Step:
    return Step(
        name=name,
        question=DRAW,
        arrange=held_call(call, is_done=is_done),
        reach=until_held,
        calls=("draw",),
        answer="did draw",
        traces=1,
        files=PICTURE,
    )


OWN_STEPS = (
    Step(name="before the question is stored", arrange=_unstored, reach=until_held),
    Step(name="after it is stored, before Slack is told", arrange=_unheard, reach=until_asked),
    Step(
        name="between the end of the stream and Slack's answer",
        arrange=held_call("chat.stopStream"),
        reach=until_held,
        scripts=(LONG,),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    _with_file("before a file's upload", "files.getUploadURLExternal", is_done=True),
    _with_file("between a file's upload and its post", "files.completeUploadExternal", is_done=False),
    _with_file("between a file's post and Slack's answer", "files.completeUploadExternal", is_done=True),
)
