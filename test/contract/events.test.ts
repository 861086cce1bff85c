import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { GlimpseEvent } from '../../src/event.ts'
import { Caller, newCallers, uniqueName } from '../support/api.ts'
import { CLIENTS, open, TRANSPORTS } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'

const RFC3339_UTC_MS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

let instance: Instance
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

/** An author, a visitor, and the author's stream and story. */
async function scene(transport: (typeof TRANSPORTS)[number]) {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  const stream = await open(transport, alice)
  return { alice, bob, stream, story: await alice.post({ text: 'hello' }) }
}

function summary({ json }: { json: GlimpseEvent }): [number, string, string | null] {
  return [json.seq, json.type, json.type === 'story.viewed' ? json.data.viewer_id : json.data.emoji]
}

describe.each(TRANSPORTS)('events over %s', (transport) => {
  it('sends a view as exactly this text', async () => {
    const { bob, stream, story } = await scene(transport)
    const { viewed_at } = await bob.view(story)
    const [event] = await stream.take(1)
    expect(viewed_at).toMatch(RFC3339_UTC_MS)
    expect(event?.json.id).toMatch(/^[0-9a-z]{1,32}\.1\.[0-9a-z]{1,16}$/)
    expect(event?.raw).toBe(
      `{"id":"${event?.json.id}","seq":1,"type":"story.viewed",` +
        `"data":{"story_id":"${story}","viewer_id":"${bob.user}","viewed_at":"${viewed_at}"},` +
        `"timestamp":"${viewed_at}"}`,
    )
  })

  it('sends a reaction as exactly this text', async () => {
    const { bob, stream, story } = await scene(transport)
    const { reacted_at } = await bob.react(story, '❤️')
    const [event] = await stream.take(1)
    expect(reacted_at).toMatch(RFC3339_UTC_MS)
    expect(event?.raw).toBe(
      `{"id":"${event?.json.id}","seq":1,"type":"story.reacted",` +
        `"data":{"story_id":"${story}","user_id":"${bob.user}","emoji":"❤️","reacted_at":"${reacted_at}"},` +
        `"timestamp":"${reacted_at}"}`,
    )
  })

  it('numbers a stream 1, 2, 3 … over views and reactions alike', async () => {
    const { alice, bob, stream, story } = await scene(transport)
    const second = await alice.post()
    await bob.view(story)
    await bob.react(story, '👍')
    await bob.view(second)
    await bob.react(second, '😂')
    const events = await stream.take(4)
    expect(events.map(summary)).toEqual([
      [1, 'story.viewed', bob.user],
      [2, 'story.reacted', '👍'],
      [3, 'story.viewed', bob.user],
      [4, 'story.reacted', '😂'],
    ])
    const epochs = new Set(events.map(({ json }) => json.id.split('.')[0]))
    expect(epochs.size).toBe(1)
  })

  it("makes no event of an author's own views and reactions", async () => {
    const { alice, bob, stream, story } = await scene(transport)
    expect(await alice.view(story)).toMatchObject({ recorded: true })
    expect(await alice.react(story, '❤️')).toMatchObject({ recorded: true })
    await bob.view(story)
    expect((await stream.take(1)).map(summary)).toEqual([[1, 'story.viewed', bob.user]])
  })

  it('makes one event of many looks by the same user', async () => {
    const { bob, stream, story } = await scene(transport)
    const first = await bob.view(story)
    expect(first).toMatchObject({ story_id: story, viewer_id: bob.user, recorded: true })
    for (let look = 2; look <= 4; look += 1)
      expect(await bob.view(story)).toEqual({ ...first, recorded: false })
    await bob.react(story, '🎉')
    expect((await stream.take(2)).map(summary)).toEqual([
      [1, 'story.viewed', bob.user],
      [2, 'story.reacted', '🎉'],
    ])
  })

  it('makes one event of looks by the same user at the same time', async () => {
    const { bob, stream, story } = await scene(transport)
    const looks = await Promise.all(Array.from({ length: 20 }, () => bob.view(story)))
    expect(looks.filter(({ recorded }) => recorded)).toHaveLength(1)
    expect(new Set(looks.map(({ viewed_at }) => viewed_at)).size).toBe(1)
    await bob.react(story, '🎉')
    expect((await stream.take(2)).map(summary)).toEqual([
      [1, 'story.viewed', bob.user],
      [2, 'story.reacted', '🎉'],
    ])
  })

  it('makes no event of the same emoji again, and one of another', async () => {
    const { bob, stream, story } = await scene(transport)
    const first = await bob.react(story, '❤️')
    expect(first.recorded).toBe(true)
    expect(await bob.react(story, '❤️')).toEqual({ ...first, recorded: false })
    expect(await bob.react(story, '🔥')).toMatchObject({ emoji: '🔥', recorded: true })
    expect(await bob.react(story, '❤️')).toMatchObject({ emoji: '❤️', recorded: true })
    expect((await stream.take(3)).map(summary)).toEqual([
      [1, 'story.reacted', '❤️'],
      [2, 'story.reacted', '🔥'],
      [3, 'story.reacted', '❤️'],
    ])
  })

  it('makes no event of a reaction taken back, and one of the next', async () => {
    const { bob, stream, story } = await scene(transport)
    await bob.react(story, '❤️')
    await bob.unreact(story)
    await bob.unreact(story)
    await bob.react(story, '❤️')
    await bob.view(story)
    expect((await stream.take(3)).map(summary)).toEqual([
      [1, 'story.reacted', '❤️'],
      [2, 'story.reacted', '❤️'],
      [3, 'story.viewed', bob.user],
    ])
  })

  it("never shows another user's events", async () => {
    const { alice, bob, stream, story } = await scene(transport)
    const others = await open(transport, bob)
    const bobs = await bob.post()
    await alice.view(bobs)
    await alice.react(bobs, '👀')
    await bob.view(story)
    expect((await stream.take(1)).map(summary)).toEqual([[1, 'story.viewed', bob.user]])
    expect((await others.take(2)).map(summary)).toEqual([
      [1, 'story.viewed', alice.user],
      [2, 'story.reacted', '👀'],
    ])
    expect(stream.seqs).toEqual([1])
  })

  it('carries every kind of user id, escaped as JSON wants it', async () => {
    const { stream, story } = await scene(transport)
    const names = [
      '"',
      '\\',
      '\\u0041',
      '</script>',
      'a b',
      "' --",
      '\u2028\u2029',
      'ß漢字',
      '🏴󠁧󠁢󠁥󠁮󠁧󠁿',
      '%00',
      '\ufeff',
      'a:b',
      'auth0|5f7c8ec7c33c6c004bbafe82',
      'https://issuer.example/users/7',
      `CN=Ann Example,OU=${'People and Others,OU='.repeat(8)}DC=example,DC=org`,
      'system:serviceaccount:ns:name',
      'ann@example.org',
      'ann*>.x y',
    ]
    const users = [...names.map(uniqueName), '😀'.repeat(255), '\\'.repeat(255)]
    for (const user of users) await new Caller(instance.url, user, await instance.token(user)).view(story)
    const events = await stream.take(users.length)
    expect(events.map(summary)).toEqual(users.map((user, i) => [i + 1, 'story.viewed', user]))
    for (const { raw, json } of events) expect(raw).toBe(JSON.stringify(json))
  })
})

describe('the same events', () => {
  it('have the same bytes on every client', async () => {
    const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
    const streams = await Promise.all(CLIENTS.map((client) => open(client, alice)))
    const story = await alice.post()
    await bob.view(story)
    await bob.react(story, '👨‍👩‍👧‍👦')
    await bob.react(story, '❤️')
    const texts = await Promise.all(
      streams.map(async (stream) => (await stream.take(3)).map(({ raw }) => raw)),
    )
    for (const [i, client] of CLIENTS.entries()) expect([client, texts[i]]).toEqual([client, texts[0]])
  })
})
