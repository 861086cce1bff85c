/** What somebody wants to do with the service, and the calls for it: the tags of the OpenAPI document. */
export interface Task {
  readonly name: string
  readonly description: string
  /** The heading in docs/README.md under which the pages about it stand. */
  readonly readers: string
  /** As `METHOD /path`, the call that one needs first in front; each route belongs to exactly one task. */
  readonly routes: readonly string[]
}

export const TASKS: readonly Task[] = [
  {
    name: 'Try it',
    description: 'A page to try the service on, and, outside production, tokens for any user.',
    readers: 'Start',
    routes: ['POST /dev/tokens', 'GET /', 'GET /console/{file}', 'GET /console/client/{file}'],
  },
  {
    name: 'Receive events',
    description: 'The caller’s stream over SSE, WebSocket or poll, and the client that does it for you.',
    readers: 'Front end',
    routes: [
      'GET /events',
      'GET /ws',
      'POST /tickets',
      'GET /me/stream',
      'GET /client.js',
      'GET /client.js.map',
    ],
  },
  {
    name: 'Unread events and connections',
    description: 'How far the caller has read, and where the caller is connected.',
    readers: 'Front end',
    routes: ['PUT /me/read', 'GET /me/connections', 'DELETE /me/connections/{connection}'],
  },
  {
    name: 'Post, view and react',
    description: 'Views and reactions by others make events for the story’s author.',
    readers: 'Back end',
    routes: [
      'POST /stories',
      'PUT /stories/{id}',
      'GET /stories/{id}',
      'DELETE /stories/{id}',
      'POST /stories/{id}/view',
      'POST /stories/{id}/reactions',
      'DELETE /stories/{id}/reactions',
    ],
  },
  {
    name: 'Operate',
    description: 'Health and metrics.',
    readers: 'Operate',
    routes: ['GET /livez', 'GET /readyz', 'GET /healthz', 'GET /metrics'],
  },
  {
    name: 'Read the reference',
    description: 'This description, for people and for tools.',
    readers: 'Reference',
    routes: ['GET /docs', 'GET /openapi.json', 'GET /asyncapi.json'],
  },
]

/** The names of the tasks that a route belongs to. */
export function tagsOf(route: string): string[] {
  return TASKS.filter(({ routes }) => routes.includes(route)).map(({ name }) => name)
}
