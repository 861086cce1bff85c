import { createHash } from 'node:crypto'
import type { Answer } from '../../answer.ts'
import type { JsonObject } from '../components.ts'
import { INFO } from '../info.ts'
import { TASKS, type Task } from '../tasks.ts'
import { type Call, callsOf, callView } from './calls.ts'
import { Html, html } from './html.ts'
import { type Schema, schemaView } from './schema.ts'
import { channelView, messageView, streamsOf } from './streams.ts'
import { STYLE } from './style.ts'

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/** The page's own style and nothing else: no script, no request, no frame. */
const SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${STYLE_HASH}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

interface Link {
  readonly to: string
  readonly name: string
}

/** Both documents as one page, made once, because they don't change while an instance runs. */
export function documentsPage(openApi: JsonObject, asyncApi: JsonObject): Answer {
  const calls = callsOf(openApi)
  const streams = streamsOf(asyncApi)
  const channels = Object.entries(streams.channels)
  const messages = Object.entries(streams.components.messages)
  const shown = new Set(messages.map(([, { payload }]) => payload.$ref))
  const { schemas } = openApi.components as { readonly schemas: Readonly<Record<string, Schema>> }
  const bodies = Object.entries(schemas)
  const navigation: readonly (readonly [string, readonly Link[]])[] = [
    ...TASKS.map((task): readonly [string, readonly Link[]] => [
      task.name,
      callsFor(task, calls).map(({ method, path, operation }) => ({
        to: operation.operationId,
        name: `${method} ${path}`,
      })),
    ]),
    ['Streams', channels.map(([name, { address }]) => ({ to: `channel-${name}`, name: address }))],
    ['Messages', messages.map(([key, { name }]) => ({ to: `message-${key}`, name }))],
    ['Bodies', bodies.map(([name]) => ({ to: `schema-${name}`, name }))],
  ]
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>Glimpse ${INFO.version}: calls and streams</title>
<link rel="icon" href="data:," />
<style>${new Html(STYLE)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<h1>Glimpse <span class="note">${INFO.version}</span></h1>
<p>${INFO.description}</p>
<p>Made from <a href="/openapi.json">openapi.json</a> and <a href="/asyncapi.json">asyncapi.json</a>, which come from the schemas this service validates with. <a href="/">Try it</a></p>
</header>
<div class="columns">
<nav aria-label="Contents">${navigation.map(navigationView)}</nav>
<main id="main">
<h2 id="calls">Calls</h2>
<p>Every path also answers OPTIONS, and HEAD as GET, the streams excepted. Refusals are <code>application/problem+json</code> (<a href="#schema-Problem"><code>Problem</code></a>) with a stable <code>type</code>.</p>
${TASKS.map((task) => taskView(task, callsFor(task, calls)))}
<h2 id="streams">Streams</h2>
${channels.map(([name, channel]) => channelView(name, channel, streams))}
<h2 id="messages">Messages</h2>
${messages.map(([key, message]) => messageView(key, message, streams))}
<h2 id="bodies">Bodies</h2>
${bodies.map(([name, schema]) => bodyView(name, schema, shown))}
</main>
</div>
</body>
</html>
`
  return {
    status: 200,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-cache',
      'Content-Security-Policy': SECURITY_POLICY,
    },
    body: page.text,
  }
}

/** The calls for a task, in its order. */
function callsFor({ name, routes }: Task, calls: readonly Call[]): Call[] {
  const place = ({ method, path }: Call) => routes.indexOf(`${method} ${path}`)
  return calls
    .filter(({ operation }) => operation.tags.includes(name))
    .sort((one, other) => place(one) - place(other))
}

function taskView({ name, description, readers }: Task, calls: readonly Call[]): Html {
  return html`<h3 class="task">${name}</h3>
<p>${description} <span class="note">Pages about it: docs/README.md, “${readers}”.</span></p>
${calls.map(callView)}`
}

function navigationView([title, links]: readonly [string, readonly Link[]]): Html {
  const id = `nav-${title.toLowerCase().replaceAll(/[^a-z]+/g, '-')}`
  return html`<strong id="${id}">${title}</strong>
<ul aria-labelledby="${id}">${links.map(({ to, name }) => html`<li><a href="#${to}">${name}</a></li>`)}</ul>`
}

/** Events are shown under messages; here is only a link. */
function bodyView(name: string, schema: Schema, messages: ReadonlySet<string>): Html {
  const view = messages.has(`#/components/schemas/${name}`)
    ? html`<p>The message <a href="#message-${name}"><code>${name}</code></a>.</p>`
    : schemaView(name, schema)
  return html`<article id="schema-${name}" aria-labelledby="schema-${name}-name">
<h3 id="schema-${name}-name">${name}</h3>
${view}
</article>`
}
