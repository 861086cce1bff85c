import { announceEvent } from './announce.js'
import { breakages } from './breakages.js'
import { Commands } from './commands.js'
import { byId, ignoreDisabledButtons } from './dom.js'
import { eventWords } from './event-row.js'
import { Guide } from './guide.js'
import { Identity, NeedsToken } from './identity.js'
import { keptEvents } from './kept.js'
import { Panel } from './panel.js'
import { personFields } from './person.js'
import { Pulse } from './pulse.js'
import { Story } from './story.js'
import { isNarrow, tabs } from './tabs.js'
import { Tally } from './tally.js'
import { showUnread } from './unread.js'

const VIEWERS = ['bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan']

const author = new Identity('author', 'alice')
const viewer = new Identity('viewer', 'bob')

const errorLine = byId('error', HTMLElement)
const commands = new Commands()
const guide = new Guide([
  { id: 'tour', label: 'Show me', run: () => void attempt(tour) },
  { id: 'cut', label: 'Next: cut the connections', run: () => press('cut') },
  { id: 'nap', label: 'Next: disconnect for 5 s', run: () => press('nap') },
  { id: 'burst', label: 'Next: 30 views at once', run: () => press('burst') },
])
const story = new Story({
  author,
  viewer,
  guide,
  commands,
  attempt,
  listening: () => panels.every((panel) => panel.listening),
})

const authorFields = personFields(personIn('author'), {
  label: 'Author',
  identity: author,
  onChange: authorChanged,
  onError: showError,
})
const viewerFields = personFields(personIn('viewer'), {
  label: 'Viewer',
  identity: viewer,
  onChange: viewerChanged,
  onError: showError,
})

const pulse = new Pulse(byId('pulse', HTMLElement))
const tally = new Tally(byId('tally', HTMLElement), (id) => story.read(id))
/** The last event counted: both panels bring every event. */
let counted = 0

const sse = byId('sse', HTMLElement)
const websocket = byId('websocket', HTMLElement)
/** @param {import('./subscription.js').GlimpseEvent} event */
const sinceClick = (event) => story.sinceClick(event)
const shared = { identity: author, sinceClick, onDisconnect, onResume, onEvent: count, onUnread: showUnread }
const panels = [
  new Panel(sse, {
    ...shared,
    title: 'Server-Sent Events',
    address: 'GET /events',
    reference: '/docs#getEvents',
    transport: 'sse',
    onConnect: (cursor) => {
      guide.lead()
      showStreamCommand(cursor)
    },
  }),
  new Panel(websocket, {
    ...shared,
    title: 'WebSocket',
    address: 'GET /ws',
    reference: '/docs#openWebSocket',
    transport: 'websocket',
    // No command: curl speaks WebSocket only where it was built to.
    onConnect: () => guide.lead(),
  }),
]

byId('read', HTMLButtonElement).addEventListener(
  'click',
  () => void attempt(async () => panels.find((panel) => panel.live)?.markRead()),
)
byId('another', HTMLButtonElement).addEventListener('click', anotherViewer)
breakages({ panels, guide, makeEvents: (many) => story.makeEvents(many), attempt })
tabs('tabs', [
  { title: 'Server-Sent Events', section: sse },
  { title: 'WebSocket', section: websocket },
])
ignoreDisabledButtons()
showNames()
void attempt(start)

/** Both panels listen before the first click, so that the first click already shows what this is about. */
async function start() {
  await author.token()
  await listen()
  await viewer.token()
  guide.say(
    `This page is a demo. Post a story as ${author.name}, then view it as ${viewer.name}: the event arrives in both boxes. Or let the page do it.`,
  )
}

/** Both panels show the author's last events and listen from there on; from now on where those cannot be read. */
async function listen() {
  const { name } = author
  const kept = await keptEvents(author).catch(() => undefined)
  // The author was changed meanwhile, and that change listens.
  if (author.name !== name) return
  for (const { seq, data } of kept?.events ?? []) {
    counted = seq
    touch(data)
  }
  for (const panel of panels) panel.connect(kept)
  showStreamCommand()
}

/** Does at one press what a newcomer would do to see the first event. */
async function tour() {
  if (!story.posted) await story.post()
  // A second look is no new view, so somebody else looks.
  else if (!viewer.hasOwnToken) anotherViewer()
  showPanels()
  await story.view()
  await story.react('😍')
  guide.done('tour')
  guide.say(
    `That was it: ${viewer.name} looked and reacted, and ${author.name} heard of it at once, in both boxes. Now break something.`,
  )
}

/**
 * Presses one of the buttons that break something, for the guide.
 * @param {string} id
 */
function press(id) {
  showPanels()
  byId(id, HTMLButtonElement).click()
}

/** On a phone, what happens in the panels would happen out of sight. */
function showPanels() {
  byId('hear', HTMLElement).scrollIntoView({ block: isNarrow() ? 'start' : 'nearest' })
}

/** @param {import('./subscription.js').GlimpseEvent} event */
function count(event) {
  if (event.seq <= counted) return
  counted = event.seq
  pulse.beat()
  touch(event.data)
  const { who, what } = eventWords(event)
  announceEvent(`Event ${event.seq}: ${who} ${what}`)
}

/** @param {any} data an event's; one of another type than the service's own may have no story */
function touch(data) {
  if (typeof data?.story_id === 'string') tally.touch(data.story_id)
}

/** @param {HTMLButtonElement} resume */
function onDisconnect(resume) {
  guide.lead(resume)
  guide.say(
    `Now be another viewer, view and react, then press Resume: what ${author.name} missed arrives in order.`,
  )
}

function onResume() {
  guide.say('Resumed after the cursor: what happened while away comes first, each once and in order.')
}

/** @param {string} [cursor] */
function showStreamCommand(cursor) {
  commands.add({
    method: 'GET',
    path: '/events',
    by: { variable: 'AUTHOR', name: author.name, pasted: author.pasted },
    stream: true,
    cursor,
  })
}

function anotherViewer() {
  const next = VIEWERS[VIEWERS.indexOf(viewer.name) + 1] ?? `viewer-${Math.random().toString(36).slice(2, 6)}`
  viewer.useToken(undefined)
  viewer.rename(next)
  viewerFields.show()
  viewerChanged()
}

function authorChanged() {
  story.clear()
  guide.lead()
  showNames()
  tally.clear()
  commands.clear()
  counted = 0
  for (const panel of panels) panel.clear()
  void listen()
  void attempt(async () => {
    await author.token()
    guide.say(`You are the author ${author.name} now. Post a story.`)
  })
}

function viewerChanged() {
  showNames()
  void attempt(async () => {
    await viewer.token()
    guide.say(story.posted ? `Now view it as ${viewer.name}.` : `The viewer is ${viewer.name} now.`)
  })
}

function showNames() {
  byId('view', HTMLButtonElement).textContent = `View it as ${viewer.name}`
  byId('hear-words', HTMLElement).textContent = `Live events for ${author.name}`
}

/**
 * Carries out an action. What goes wrong is said in plain words; where a token is missing, its fields are opened.
 * @param {() => Promise<void>} action
 */
async function attempt(action) {
  errorLine.hidden = true
  try {
    await action()
  } catch (error) {
    showError(error instanceof Error ? error.message : String(error))
    if (!(error instanceof NeedsToken)) return
    guide.say('Two users are needed: paste a token for the author and one for the viewer, then post a story.')
    authorFields.askForToken()
    viewerFields.askForToken()
  }
}

/** @param {string} words */
function showError(words) {
  errorLine.hidden = false
  errorLine.textContent = words
}

/** @param {string} id */
function personIn(id) {
  const container = byId(id, HTMLElement).querySelector('[data-person]')
  if (!(container instanceof HTMLElement)) throw new Error(`#${id} has no place for a person`)
  return container
}
