import { afterEach, describe, expect, it, vi } from 'vitest'
import { TransportFallback } from '../../src/client/transport-fallback.ts'

const base = new URL('https://glimpse.test/')
const auto = (hasWebSocket = true) => new TransportFallback('auto', hasWebSocket, base)

/** Which transports are tried while each of them fails. */
function order(fallback: TransportFallback, tries: number): string[] {
  return Array.from({ length: tries }, () => {
    const { current } = fallback
    fallback.failed(current)
    return current
  })
}

describe('the transport to try next', () => {
  it('is WebSocket, then SSE, then the poll, and then the first again', () => {
    expect(order(auto(), 5)).toEqual(['websocket', 'sse', 'poll', 'websocket', 'sse'])
    expect(order(new TransportFallback(undefined, true, base), 1)).toEqual(['websocket'])
  })

  it('is SSE, then the poll, where there is no WebSocket', () => {
    expect(order(auto(false), 3)).toEqual(['sse', 'poll', 'sse'])
  })

  it('is the one that the caller wants, however often it fails', () => {
    const only = new TransportFallback('sse', true, base)
    expect([order(only, 3), only.hasOthers, auto().hasOthers]).toEqual([['sse', 'sse', 'sse'], false, true])
  })

  it('is one that has worked until it fails twice in a row', () => {
    const fallback = auto()
    fallback.worked('websocket')
    fallback.failed('websocket')
    expect(fallback.current).toBe('websocket')
    fallback.worked('websocket')
    fallback.failed('websocket')
    expect(fallback.current).toBe('websocket')
    fallback.failed('websocket')
    expect(fallback.current).toBe('sse')
  })

  it('is the best again where the network may have changed', () => {
    const fallback = auto()
    order(fallback, 2)
    fallback.forgive()
    expect(fallback.current).toBe('websocket')
  })
})

describe('in a page', () => {
  afterEach(() => void vi.unstubAllGlobals())

  /** A page whose storage is a map, or what the test gives. */
  function page(storage: object = {}) {
    const kept = new Map<string, string>()
    vi.stubGlobal('document', {})
    vi.stubGlobal('addEventListener', () => {})
    vi.stubGlobal('sessionStorage', {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
      ...storage,
    })
    return kept
  }

  it('the transport that worked is remembered, so that the next page begins with it', () => {
    const kept = page()
    expect(auto().current).toBe('websocket')
    auto().worked('poll')
    expect([...kept]).toEqual([['glimpse https://glimpse.test/', 'poll']])
    expect(order(auto(), 2)).toEqual(['poll', 'websocket'])
    auto().worked('websocket')
    expect(auto().current).toBe('websocket')
  })

  it('a transport that is not among those to choose from is not begun with', () => {
    const kept = page()
    kept.set('glimpse https://glimpse.test/', 'websocket')
    expect(auto(false).current).toBe('sse')
  })

  it('nothing is remembered of a transport that has no alternative', () => {
    const kept = page()
    new TransportFallback('sse', true, base).worked('sse')
    expect(kept.size).toBe(0)
  })

  it('without storage nothing is remembered, and nothing fails', () => {
    page({
      getItem: () => {
        throw new Error('denied')
      },
      setItem: () => {
        throw new Error('denied')
      },
    })
    const fallback = auto()
    fallback.worked('poll')
    expect([fallback.current, auto().current]).toEqual(['websocket', 'websocket'])
  })
})
