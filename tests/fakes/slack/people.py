"""What people do in the loopback Slack: write, edit, press, run commands. Each verb delivers what Slack would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.fakes.slack.blocks import (
    BlockError,
    as_object,
    check_blocks,
    check_view,
    elements_of,
    readable_text,
    with_ids,
)
from tests.fakes.slack.chat_methods import changed_event, deleted_event
from tests.fakes.slack.delivery import Deliveries, Delivery
from tests.fakes.slack.inputs import filled_in
from tests.fakes.slack.typed import rich_text
from tests.fakes.slack.view_methods import add_view, view_json
from tests.fakes.slack.world import Json, Message, StoredFile, User, View


class People(Deliveries):
    """The people's side."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []  # (user, text): what Slackbot tells when the app did not answer

    # --- messages

    async def say(
        self,
        channel: str,
        user: User | str,
        text: str,
        thread_ts: str | None = None,
        *,
        files: Sequence[StoredFile] = (),
        attachments: Sequence[Json] = (),
        blocks: Sequence[Json] | None = None,
        mention: bool = False,
        deliver: bool = True,
        broadcast: bool = False,
        through: str = "",
    ) -> str:
        """Write a message and return its ts; the app gets `message` and, where it is mentioned, `app_mention` as well.

        `mention` puts the bot's mention in front. `deliver=False` stores it only, as when the app was not connected.
        In direct messages there is no app_mention: https://docs.slack.dev/reference/events/app_mention.
        `through` is the bot id of an app that posts it with the person's token: anneschuth/claude-threads#526.
        """
        person, room = self.user(user), self.channels[channel]
        assert person.id in room.members, f"{person.id} is not in {channel}"
        assert thread_ts is None or thread_ts in room.messages, f"there is no thread {thread_ts} in {channel}"
        mark = f"<@{self.teams[room.team].bot_user}>"
        text = f"{mark} {text}".rstrip() if mention else text
        message = Message(
            channel=channel,
            ts=self.next_ts(),
            user=person.id,
            team=person.team,
            text=text,
            files=list(files),
            attachments=list(attachments),
            thread_ts=thread_ts,
            is_broadcast=broadcast,
            blocks=list(blocks) if blocks is not None else [rich_text(text, self.next_id("b"))] if text else [],
            bot_id=through or None,
        )
        for stored in files:
            stored.user = stored.user or person.id
        self.store(message)
        if deliver:
            self._announce_new(message)
            await asyncio.sleep(0)  # the sockets get the deliveries in the order in which things were said
        return message.ts

    def _announce_new(self, message: Message) -> None:
        shape = self.message_json(message)
        for derived in ("reply_count", "latest_reply"):
            shape.pop(derived, None)
        delivery = self.announce(message.channel, shape)
        room = self.channels[message.channel]
        bot = self.teams[room.team].bot_user
        if delivery is not None and room.kind != "im" and f"<@{bot}>" in message.text:
            self._announce_mention(message, shape)

    def _announce_mention(self, message: Message, shape: Json) -> None:
        # A workflow's mention keeps its subtype: hubot-friends/hubot-slack#35.
        keeps = shape.get("subtype") == "bot_message"
        mention = {name: value for name, value in shape.items() if keeps or name != "subtype"}
        mention |= {"type": "app_mention", "channel": message.channel, "event_ts": message.ts}
        self.deliver_event(mention, team=self.channels[message.channel].team)

    async def edit(
        self, channel: str, ts: str, text: str | None = None, *, attachments: Sequence[Json] | None = None
    ) -> None:
        """Edit a message; the app gets message_changed with the previous one, and a mention again as app_mention.

        What is None stays as it is. An edited mention: soxtoby/SlackNet#69, slackapi/bolt-python#925.
        """
        message = self.message(channel, ts)
        previous = self.message_json(message)
        if text is not None:
            message.text, message.blocks = text, [rich_text(text, self.next_id("b"))]
        if attachments is not None:
            message.attachments = list(attachments)
        message.edits += 1
        message.edited = {"user": message.user, "ts": self.next_ts()}
        await self._announce_change(message, previous)
        room = self.channels[channel]
        if room.kind != "im" and f"<@{self.teams[room.team].bot_user}>" in message.text:
            self._announce_mention(message, self.message_json(message))

    async def unfurl(self, channel: str, ts: str, *attachments: Json) -> None:
        """Show a preview below a message, as Slack does by itself: it is no edit, and is not marked as one."""
        message = self.message(channel, ts)
        previous = self.message_json(message)
        message.attachments = [*message.attachments, *attachments]
        await self._announce_change(message, previous)

    async def _announce_change(self, message: Message, previous: Json) -> None:
        self.touch()
        self.announce(message.channel, changed_event(self, message, previous))
        await asyncio.sleep(0)

    async def delete(self, channel: str, ts: str) -> None:
        """Delete a message; the app gets message_deleted."""
        message = self.message(channel, ts)
        event = deleted_event(self, message)
        self.remove(message)
        self.announce(channel, event)
        await asyncio.sleep(0)

    async def join(self, channel: str, user: User | str) -> str:
        """Join a channel; the app gets the channel_join message."""
        person = self.user(user)
        self.channels[channel].members.add(person.id)
        message = Message(
            channel=channel,
            ts=self.next_ts(),
            user=person.id,
            team=person.team,
            text=f"<@{person.id}> has joined the channel",
        )
        self.store(message)
        self.announce(channel, self.message_json(message) | {"subtype": "channel_join"})
        await asyncio.sleep(0)
        return message.ts

    async def say_as_other_bot(
        self,
        channel: str,
        text: str = "",
        thread_ts: str | None = None,
        *,
        app: str = "Other",
        attachments: Sequence[Json] = (),
        blocks: Sequence[Json] = (),
        is_integration: bool = False,
    ) -> str:
        """Have another app post a message and return its ts: as its bot user, or as a webhook under a name."""
        if "UOTHERBOT" not in self.users:
            self.add_user("UOTHERBOT", name="other", is_bot=True)
        message = Message(
            channel=channel,
            ts=self.next_ts(),
            user="UOTHERBOT",
            bot_id="BOTHER",
            app=app,
            is_integration=is_integration,
            team=self.channels[channel].team,
            text=text,
            attachments=list(attachments),
            blocks=list(blocks),
            thread_ts=thread_ts,
        )
        self.store(message)
        self._announce_new(message)
        await asyncio.sleep(0)
        return message.ts

    # --- commands and clicks

    async def slash(self, channel: str, user: User | str, command: str, text: str = "") -> Delivery:
        """Run a slash command and return its delivery once it is acknowledged, or was not in time.

        There is no way to run one inside a thread, and its payload names none:
        https://docs.slack.dev/interactivity/implementing-slash-commands
        """
        person, room = self.user(user), self.channels[channel]
        workspace = self.teams[person.team]
        payload: Json = {
            "token": "verification-test",
            "team_id": person.team,
            "team_domain": person.team.lower(),
            "channel_id": channel,
            "channel_name": {"im": "directmessage", "group": "privategroup"}.get(room.kind, room.name),
            "user_id": person.id,
            "user_name": person.name,
            "command": command,
            "text": text,
            "api_app_id": self.app_id,
            "is_enterprise_install": "true" if workspace.is_org_wide else "false",
            "response_url": self.new_response_url(channel, person.id),
            "trigger_id": self.new_trigger(person),
        }
        if workspace.enterprise:
            payload |= {"enterprise_id": workspace.enterprise, "enterprise_name": workspace.enterprise}
        delivery = await self._deliver_to_person("slash_commands", payload, person, channel)
        if delivery.answer and (delivery.answer.get("text") or delivery.answer.get("blocks")):
            self._show_answer(delivery.answer, channel, person)
        return delivery

    def _show_answer(self, answer: Json, channel: str, person: User) -> None:
        workspace = self.teams[person.team]
        is_public = answer.get("response_type") == "in_channel"
        try:
            check_blocks(answer.get("blocks") or list[Json]())
        except BlockError as error:
            self.tell_person(person.id, str(error))
            return
        message = Message(
            channel=channel,
            ts=self.next_ts(),
            user=workspace.bot_user,
            bot_id=workspace.bot_id,
            team=workspace.id,
            text=answer.get("text", ""),
            blocks=with_ids(answer.get("blocks") or [], self.next_id),
            ephemeral_to=None if is_public else person.id,
        )
        self.store(message)

    async def press(
        self,
        channel: str,
        ts: str,
        user: User | str,
        action_id: str,
        *,
        value: str | None = None,
        selected_value: str | None = None,
    ) -> Delivery:
        """Press what is in the message and return the delivery once it is acknowledged, or was not in time.

        `value` tells apart the buttons (or the sides of a feedback element) of one action_id; `selected_value` is
        the option to choose in a select.

        Raises:
            AssertionError: There is no such thing to press.
        """
        message, person = self.message(channel, ts), self.user(user)
        assert message.ephemeral_to in {None, person.id}, f"{person.id} does not see {ts}"
        action = self._action(message.blocks, action_id, value if selected_value is None else selected_value)
        container: Json = {
            "type": "message",
            "message_ts": ts,
            "channel_id": channel,
            "is_ephemeral": message.ephemeral_to is not None,
        }
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        payload = self._interaction("block_actions", person, channel) | {
            "container": container,
            "state": {"values": Json()},
            "actions": [action],
            "response_url": self.new_response_url(channel, person.id, message_ts=ts, thread_ts=message.thread_ts),
        }
        if message.ephemeral_to is None:  # Slack keeps no ephemeral message that it could show
            payload["message"] = self.message_json(message)
        return await self._deliver_to_person("interactive", payload, person, channel)

    async def press_in_view(
        self,
        view_id: str,
        user: User | str,
        action_id: str,
        *,
        value: str | None = None,
        selected_value: str | None = None,
    ) -> Delivery:
        """Press what is in an open modal or in the Home tab; see `press`."""
        view, person = self.all_views[view_id], self.user(user)
        assert view.is_open and view.user == person.id, f"{person.id} does not see {view_id}"
        action = self._action(view.content["blocks"], action_id, value if selected_value is None else selected_value)
        payload = self._interaction("block_actions", person) | {
            "container": {"type": "view", "view_id": view_id},
            "view": view_json(self, view),
            "actions": [action],
        }
        return await self._deliver_to_person("interactive", payload, person)

    async def press_in_home(
        self, user: User | str, action_id: str, *, value: str | None = None, selected_value: str | None = None
    ) -> Delivery:
        """Press what is in the person's Home tab; see `press`."""
        view = self.home_view(self.user(user).id)
        assert view is not None, "nothing was published to this Home tab"
        return await self.press_in_view(view.id, user, action_id, value=value, selected_value=selected_value)

    async def submit(self, view_id: str, user: User | str, values: Json | None = None) -> Delivery:
        """Submit an open modal, with the state of its inputs by block_id, and do what the answer says.

        https://docs.slack.dev/surfaces/modals#updating_response: no answer closes it; `response_action` may update,
        push, clear, or show errors (then it stays).
        """
        view, person = self.all_views[view_id], self.user(user)
        assert view.is_open and view.user == person.id, f"{person.id} does not see {view_id}"
        assert "submit" in view.content, "this modal has no submit button"
        view.errors = {}
        shape = view_json(self, view) | {"state": {"values": values or {}}}
        payload = self._interaction("view_submission", person) | {"view": shape, "response_urls": list[str]()}
        delivery = await self._deliver_to_person("interactive", payload, person)
        if delivery.acked_at is not None:
            self._obey(view, delivery.answer or {})
        return delivery

    def _obey(self, view: View, answer: Json) -> None:
        action = answer.get("response_action")
        if action in {"update", "push"}:
            try:
                check_view(answer.get("view"))
            except BlockError as error:
                self.tell_person(view.user, str(error))
                return
            content = answer["view"] | {"blocks": with_ids(answer["view"]["blocks"], self.next_id)}
            if action == "push":
                add_view(self, content, user=view.user, team=view.team)
            else:
                view.content, view.hash = content, self.next_id("hash")
        elif action == "clear":
            for each in self.views(view.user):
                each.is_open = False
        elif action == "errors":
            self._show_errors(view, answer.get("errors"))
        else:
            view.is_open = False
        self.touch()

    def _show_errors(self, view: View, errors: Any) -> None:
        """https://docs.slack.dev/surfaces/modals#displaying_errors: by the ids of the view's input blocks."""
        inputs = {block["block_id"] for block in view.content["blocks"] if block["type"] == "input"}
        told = as_object(errors)
        if not told or not set(told) <= inputs or not all(isinstance(each, str) and each for each in told.values()):
            self.tell_person(view.user, "We had some trouble connecting. Try again?")
            return
        view.errors = told

    async def fill_in(self, view_id: str, user: User | str, values: Json) -> Delivery:
        """Change the inputs with these labels, and submit the modal; the others stay as they are filled in."""
        view = self.all_views[view_id]
        return await self.submit(view_id, user, filled_in(view.content["blocks"], values))

    async def close_view(self, view_id: str, user: User | str) -> Delivery | None:
        """Close a modal; the app is told where the view asks for it (notify_on_close)."""
        view, person = self.all_views[view_id], self.user(user)
        view.is_open = False
        self.touch()
        if not view.content.get("notify_on_close"):
            return None
        payload = self._interaction("view_closed", person) | {"view": view_json(self, view), "is_cleared": False}
        payload.pop("trigger_id")
        return await self._deliver_to_person("interactive", payload, person)

    async def shortcut(self, channel: str, ts: str, user: User | str, callback_id: str) -> Delivery:
        """Choose a message shortcut: https://docs.slack.dev/interactivity/implementing-shortcuts."""
        message, person = self.message(channel, ts), self.user(user)
        payload = self._interaction("message_action", person, channel) | {
            "callback_id": callback_id,
            "action_ts": self.next_ts(),
            "message_ts": ts,
            "message": self.message_json(message),
            "response_url": self.new_response_url(channel, person.id, message_ts=None, thread_ts=message.thread_ts),
        }
        return await self._deliver_to_person("interactive", payload, person, channel)

    def _action(self, blocks: list[Json], action_id: str, value: str | None) -> Json:
        """Return the entry of `actions` for what is pressed: its shape depends on the element's type."""
        found: list[str] = []
        for block, element in elements_of(blocks):
            found.append(element["action_id"])
            if element["action_id"] != action_id:
                continue
            pressed = _pressed(element, value)
            if pressed is not None:
                common = {"type": element["type"], "action_id": action_id, "block_id": block["block_id"]}
                return common | {"action_ts": self.next_ts()} | pressed
        raise AssertionError(f"there is no {action_id} with the value {value} among {found}")

    def _interaction(self, kind: str, person: User, channel: str | None = None) -> Json:
        """https://docs.slack.dev/reference/interaction-payloads."""
        workspace = self.workspace_of(person, channel)
        enterprise = {"id": workspace.enterprise, "name": workspace.enterprise} if workspace.enterprise else None
        payload: Json = {
            "type": kind,
            "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": person.team},
            "api_app_id": self.app_id,
            "token": "verification-test",
            "trigger_id": self.new_trigger(person, team=workspace.id),
            "team": None if workspace.is_org_wide else {"id": workspace.id, "domain": workspace.id.lower()},
            "enterprise": enterprise,
            "is_enterprise_install": workspace.is_org_wide,
        }
        if channel:
            room = self.channels[channel]
            payload["channel"] = {"id": channel, "name": room.name or "directmessage"}
        return payload

    async def _deliver_to_person(self, kind: Any, payload: Json, person: User, channel: str | None = None) -> Delivery:
        team = self.workspace_of(person, channel).id
        delivery = await self.ended(self.deliver(kind, payload, team=team))
        if delivery.gave_up:
            self.tell_person(person.id, 'failed with the error "operation_timeout"')
        return delivery

    def tell_person(self, user: str, text: str) -> None:
        """Say as Slackbot, to this person alone, that the app's answer failed."""
        self.told.append((user, text))
        self.touch()

    # --- the app's other surfaces

    async def open_home(self, user: User | str) -> Delivery:
        """Open the Home tab: https://docs.slack.dev/reference/events/app_home_opened."""
        person = self.user(user)
        event: Json = {
            "type": "app_home_opened",
            "user": person.id,
            "channel": self.dm(person),
            "tab": "home",
            "event_ts": self.next_ts(),
        }
        if view := self.home_view(person.id):
            event["view"] = view_json(self, view)
        return self.deliver_event(event, team=person.team)

    async def press_stop(self, channel: str, thread_ts: str, user: User | str) -> Delivery:
        """Press the native Stop button, which is there while the session is processing.

        Slack stops the app's streams in the thread and leaves the status to the app:
        https://docs.slack.dev/reference/events/agent_session_stopped

        Raises:
            AssertionError: The session is not processing: there is no button.
        """
        status = self.sessions.get((channel, thread_ts))
        assert status == "processing", f"there is no Stop button: the session is {status or 'not there'}"
        person = self.user(user)
        streaming = [message for message in self.visible(channel, thread_ts) if message.is_streaming]
        for message in streaming:
            self.end_stream(message, by="user")
        self.touch()
        event = {
            "type": "agent_session_stopped",
            "channel": channel,
            "thread_ts": thread_ts,
            "user": person.id,
            "event_ts": self.next_ts(),
            "streaming_message_ts": [message.ts for message in streaming],
        }
        return self.deliver_event(event, team=person.team)

    async def revoke_tokens(self, team: str = "T1") -> Delivery:
        """Revoke the bot's tokens: https://docs.slack.dev/reference/events/tokens_revoked."""
        self._revoke(team)
        bot = self.teams[team].bot_user
        event: Json = {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [bot]}, "event_ts": self.next_ts()}
        return self.deliver_event(event, team=team)

    async def uninstall(self, team: str = "T1") -> list[Delivery]:
        """Remove the app from the workspace; tokens_revoked and app_uninstalled may come in any order.

        https://docs.slack.dev/reference/events/app_uninstalled
        """
        revoked = await self.revoke_tokens(team)
        self.teams[team].is_installed = False
        event: Json = {"type": "app_uninstalled", "event_ts": self.next_ts()}
        return [revoked, self.deliver_event(event, team=team)]

    def _revoke(self, team: str) -> None:
        for token in self.tokens.values():
            if token.team == team and token.kind == "bot":
                token.is_revoked = True
        self.touch()

    def text_of(self, view: View | Json | None) -> str:
        """Return what a person reads in a modal or in the Home tab."""
        content = view.content if isinstance(view, View) else view
        return readable_text(content["blocks"]) if content else ""


def _pressed(element: Json, value: str | None) -> Json | None:
    """Return what an element says when it is pressed so; None where it has no such value."""
    kind = element["type"]
    if kind == "feedback_buttons":
        sides = [element["positive_button"], element["negative_button"]]
        side = next((side for side in sides if side["value"] == value), None)
        return {"text": side["text"], "value": side["value"]} if side else None
    if "options" in element or "option_groups" in element:
        groups = element.get("option_groups") or [element]
        options = [option for group in groups for option in group["options"]]
        option = next((option for option in options if option["value"] == value), None)
        if option is None:
            return None
        many = kind in {"checkboxes", "multi_static_select"}
        return {"selected_options": [option]} if many else {"selected_option": option}
    if value is not None and element.get("value") != value:
        return None
    return {name: element[name] for name in ("text", "value", "style", "url") if name in element}
