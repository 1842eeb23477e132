"""A Slack on loopback: Web API, Socket Mode and HTTP deliveries, and the people who use it."""

from tests.fakes.slack.delivery import Delivery as Delivery
from tests.fakes.slack.delivery import Socket as Socket
from tests.fakes.slack.server import FakeSlack as FakeSlack
from tests.fakes.slack.world import ALL_BOT_SCOPES as ALL_BOT_SCOPES
from tests.fakes.slack.world import Call as Call
from tests.fakes.slack.world import Channel as Channel
from tests.fakes.slack.world import Message as Message
from tests.fakes.slack.world import StoredFile as StoredFile
from tests.fakes.slack.world import Team as Team
from tests.fakes.slack.world import Token as Token
from tests.fakes.slack.world import User as User
from tests.fakes.slack.world import View as View
