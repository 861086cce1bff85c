import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { contextOf } from '../../src/client/context.ts'
import { CursorSaver } from '../../src/client/cursor-saver.ts'
import type { CursorStore } from '../../src/client/index.ts'
import { never, pass } from '../support/fake-client.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function scene(store: CursorStore | undefined) {
  const traced: string[] = []
  const context = contextOf(
    { url: 'http://service.test', debug: (what) => traced.push(what), timing: { answerTimeoutMs: 1000 } },
    new AbortController().signal,
    () => {},
  )
  return { saver: new CursorSaver(store, context), traced }
}

const storeWith = (load: () => unknown): CursorStore => ({
  load: load as CursorStore['load'],
  save: () => {},
})

/** A store whose saves end when the test says so. */
function slowStore() {
  const saves: [cursor: string, reset: boolean][] = []
  const ends: (() => void)[] = []
  const store: CursorStore = {
    load: () => undefined,
    save: (cursor, reset) => {
      saves.push([cursor, reset])
      return new Promise((resolve) => ends.push(resolve))
    },
  }
  const end = async () => {
    ends.shift()?.()
    await pass(0)
  }
  return { store, saves, end }
}

describe('the saved cursor', () => {
  it.each([
    ['the text', () => 'e1.4', 'e1.4'],
    ['the text that is promised', async () => 'e1.4', 'e1.4'],
    ['none for an empty text', () => '', undefined],
    ['none for null', () => null, undefined],
    ['none for what is no text', () => 7, undefined],
  ])('is %s', async (_, load, cursor) => {
    expect(await scene(storeWith(load)).saver.load()).toBe(cursor)
  })

  it('is none without a store', async () => {
    expect(await scene(undefined).saver.load()).toBeUndefined()
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('denied')
      },
      'store.load: denied',
    ],
    ['rejects', () => Promise.reject(new Error('denied')), 'store.load: denied'],
    ['does not answer', never, 'store.load: store.load took longer than 1000 ms'],
  ])('is unknown where the store %s', async (_, load, trace) => {
    const { saver, traced } = scene(storeWith(load))
    const loaded = saver.load()
    await pass(1000)
    expect([await loaded, traced]).toEqual([null, [trace]])
  })
})

describe('a save', () => {
  it('to a store that saves at once is done in the same turn', () => {
    const saved: string[] = []
    const { saver } = scene({ load: () => undefined, save: (cursor) => void saved.push(cursor) })
    saver.save('e1.1', false)
    saver.save('e1.2', false)
    expect(saved).toEqual(['e1.1', 'e1.2'])
  })

  it('waits for the one before it, and only the newest cursor is saved then', async () => {
    const { store, saves, end } = slowStore()
    const { saver } = scene(store)
    for (const cursor of ['e1.1', 'e1.2', 'e1.3']) saver.save(cursor, false)
    expect(saves).toEqual([['e1.1', false]])
    await end()
    expect(saves.slice(1)).toEqual([['e1.3', false]])
    await end()
    saver.save('e1.4', false)
    expect(saves.slice(2)).toEqual([['e1.4', false]])
  })

  it('says that the service set the cursor, also where another event came before it was saved', async () => {
    const { store, saves, end } = slowStore()
    const { saver } = scene(store)
    saver.save('e1.9', false)
    saver.save('e1.2', true)
    saver.save('e1.3', false)
    await end()
    await end()
    saver.save('e1.4', false)
    expect(saves).toEqual([
      ['e1.9', false],
      ['e1.3', true],
      ['e1.4', false],
    ])
  })

  it('that fails is traced, and replaced by the next', async () => {
    const saved: string[] = []
    const { saver, traced } = scene({
      load: () => undefined,
      save: (cursor) => (saved.push(cursor) === 1 ? Promise.reject(new Error('full')) : undefined),
    })
    saver.save('e1.1', false)
    saver.save('e1.2', false)
    await saver.saved()
    expect([saved, traced]).toEqual([['e1.1', 'e1.2'], ['store.save: full']])
  })

  it('is waited for until nothing is left', async () => {
    const { store, end } = slowStore()
    const { saver } = scene(store)
    saver.save('e1.1', false)
    saver.save('e1.2', false)
    let saved = false
    void saver.saved().then(() => {
      saved = true
    })
    await end()
    expect(saved).toBe(false)
    await end()
    expect(saved).toBe(true)
  })

  it('does nothing without a store', async () => {
    const { saver } = scene(undefined)
    saver.save('e1.1', false)
    await saver.saved()
  })
})
