import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { openCurl } from '../support/clients/curl.ts'
import { closing } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

describe('curl -N', () => {
  it('shows each event as it happens, and resumes with -H Last-Event-ID', async () => {
    const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
    const story = await alice.post()
    const first = await closing(openCurl(alice))
    expect(first.messages[0]?.json.type).toBe('stream.open')
    for (const [i, emoji] of ['❤️', '🔥'].entries()) {
      await bob.react(story, emoji)
      expect((await first.take(1))[0]?.json).toMatchObject({ seq: i + 1, data: { emoji } })
    }
    first.close()
    await first.closed
    await bob.view(story)
    const second = await closing(openCurl({ url: alice.url, token: alice.token, lastEventId: first.cursor }))
    expect((await second.take(1))[0]?.json).toMatchObject({ seq: 3, type: 'story.viewed' })
  })
})
