import { afterEach, describe, expect, it, vi } from 'vitest'
import { type CursorStore, localStorageCursor } from '../../src/client/index.ts'
import { never, openFake, pass } from '../support/fake-client.ts'

const fail = () => {
  throw new DOMException('The operation is insecure.', 'SecurityError')
}
const reject = async () => fail()

afterEach(() => vi.unstubAllGlobals())

describe('a store', () => {
  const broken: Record<string, CursorStore> = {
    'whose load throws': { load: fail, save: () => {} },
    'whose load rejects': { load: reject, save: () => {} },
    'whose save throws': { load: () => 'e.0', save: fail },
    'whose save rejects': { load: () => 'e.0', save: reject },
    'whose save never answers': { load: () => 'e.0', save: never },
  }
  it.each(Object.entries(broken))('%s costs no event and no time', async (_, store) => {
    const client = openFake({ store })
    client.service.make('alice', 2)
    await pass(100)
    client.service.make('alice', 2)
    await pass(100)
    expect(client.seqs).toEqual([1, 2, 3, 4])
    expect(client.stream.state.name).toBe('live')
  })

  it('is traced when it fails', async () => {
    const traces: string[] = []
    const client = openFake({ store: { load: fail, save: fail }, debug: (what) => traces.push(what) })
    await pass(100)
    client.service.make('alice')
    await pass(100)
    expect(traces).toContain('store.load: The operation is insecure.')
    expect(traces).toContain('store.save: The operation is insecure.')
  })

  it('that is slow gets the newest cursor, one at a time and never an older one', async () => {
    const saved: string[] = []
    let saving = 0
    const store: CursorStore = {
      load: () => null,
      save: async (cursor) => {
        expect(++saving).toBe(1)
        await new Promise((resolve) => setTimeout(resolve, 1000))
        saved.push(cursor)
        saving--
      },
    }
    const client = openFake({ store })
    await pass(100)
    client.service.make('alice', 50)
    await pass(100)
    expect(client.seqs).toHaveLength(50)
    client.service.make('alice', 50)
    await pass(5000)
    expect(saved).toEqual(['e.0.calice', 'e.100.calice'])
  })

  it('that answers very late never goes back, because nothing else was saved meanwhile', async () => {
    const saved: string[] = []
    let slow = true
    const store: CursorStore = {
      load: () => null,
      save: async (cursor) => {
        if (slow) {
          slow = false
          await new Promise((resolve) => setTimeout(resolve, 60_000))
        }
        saved.push(cursor)
      },
    }
    const client = openFake({ store })
    await pass(100)
    client.service.make('alice', 3)
    await pass(30_000)
    expect([client.seqs, saved]).toEqual([[1, 2, 3], []])
    await pass(31_000)
    expect(saved).toEqual(['e.0.calice', 'e.3.calice'])
  })
})

describe('localStorageCursor', () => {
  function stubStorage(): Map<string, string> {
    const kept = new Map<string, string>()
    vi.stubGlobal('localStorage', {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    })
    return kept
  }

  it('does not go back if two tabs share a key: the furthest cursor counts', () => {
    const kept = stubStorage()
    const [fast, slow] = [localStorageCursor('key'), localStorageCursor('key')]
    fast.save('e.7.abc', false)
    slow.save('e.5.def', false)
    expect(kept.get('key')).toBe('e.7.abc')
    expect(slow.load()).toBe('e.7.abc')
    slow.save('e.8', false)
    expect(kept.get('key')).toBe('e.8')
  })

  it('follows a reset of the service, also back and into another history', () => {
    const kept = stubStorage()
    const store = localStorageCursor('key')
    store.save('e.7.abc', false)
    store.save('e.3.abc', true)
    expect(kept.get('key')).toBe('e.3.abc')
    store.save('f.1.abc', false)
    expect(kept.get('key')).toBe('f.1.abc')
  })

  it('has no cursor in a page without storage, so that the stream begins where the caller says', async () => {
    const throwing = { get: fail }
    const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage')
    Object.defineProperty(globalThis, 'localStorage', { ...throwing, configurable: true })
    try {
      const client = openFake({ store: localStorageCursor('key'), after: 'now' })
      client.service.make('alice', 2)
      await pass(100)
      client.service.make('alice', 1)
      await pass(100)
      expect(client.seqs).toEqual([3])
      expect(client.stream.state.name).toBe('live')
    } finally {
      if (before === undefined) Reflect.deleteProperty(globalThis, 'localStorage')
      else Object.defineProperty(globalThis, 'localStorage', before)
    }
  })
})
