import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ABANDONED, Handoff } from '../../src/client/handoff.ts'
import type { GlimpseEvent } from '../../src/event.ts'

const event = (seq: number) => ({ seq }) as GlimpseEvent

/** What became of an event that was offered: undefined until then. */
function offered(handoff: Handoff, seq: number) {
  const offer: { outcome: unknown } = { outcome: undefined }
  void handoff.offer(event(seq)).then((outcome) => {
    offer.outcome = outcome ?? 'handled'
  })
  return offer
}

function scene() {
  const handoff = new Handoff()
  let end = () => {}
  let fail = (_error: unknown) => {}
  const done = new Promise<void>((resolve, reject) => {
    end = resolve
    fail = reject
  })
  const loop = handoff.events(done)
  return { handoff, end, fail, next: async () => (await loop.next()).value?.seq }
}

describe('an event for a loop', () => {
  it('is handled once the loop asks for the next', async () => {
    const { handoff, next } = scene()
    const [one, first] = [offered(handoff, 1), await next()]
    await turn()
    expect([first, one.outcome]).toEqual([1, undefined])
    const second = next()
    await turn()
    expect(one.outcome).toBe('handled')
    const two = offered(handoff, 2)
    expect([await second, two.outcome]).toEqual([2, undefined])
  })

  it('is abandoned where the stream ends while the loop has it, as are all after it', async () => {
    const { handoff, next } = scene()
    const one = offered(handoff, 1)
    await next()
    handoff.close()
    await turn()
    expect(one.outcome).toBe(ABANDONED)
    expect(await handoff.offer(event(2))).toBe(ABANDONED)
  })

  it('goes to the handlers where there is no loop', async () => {
    const handoff = new Handoff()
    handoff.release()
    const one = offered(handoff, 1)
    handoff.release()
    await turn()
    expect([one.outcome, handoff.looping]).toEqual(['handled', false])
  })
})

describe('a loop', () => {
  it('that waits ends with the stream', async () => {
    const { handoff, next, end } = scene()
    const waiting = next()
    expect(handoff.looping).toBe(true)
    end()
    expect(await waiting).toBeUndefined()
  })

  it('fails as the stream does', async () => {
    const { next, fail } = scene()
    const waiting = expect(next()).rejects.toThrow('refused')
    fail(new Error('refused'))
    await waiting
  })

  it('gets the event that was offered before the stream ended', async () => {
    const { handoff, next, end } = scene()
    offered(handoff, 1)
    end()
    expect([await next(), await next()]).toEqual([1, undefined])
  })
})
