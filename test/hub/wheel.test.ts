import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { TimerWheel } from '../../src/hub/wheel.ts'

/** A wheel of 8 slots, 10 ms each, on a clock that the test turns. */
function wheelAt(start: number) {
  let now = start
  const wheel = new TimerWheel({ tickMs: 10, slots: 8, now: () => now })
  return {
    wheel,
    turnTo(time: number) {
      now = time
      wheel.advance()
    },
  }
}

function sleeper(next: (now: number) => number | undefined = () => undefined) {
  const woken: number[] = []
  return {
    woken,
    dueAt: undefined as number | undefined,
    wake(now: number) {
      woken.push(now)
      return next(now)
    },
  }
}

describe('a timer wheel', () => {
  it('wakes a sleeper once, not before its time', () => {
    const { wheel, turnTo } = wheelAt(1000)
    const one = sleeper()
    wheel.set(one, 1035)
    for (const time of [1010, 1020, 1034]) turnTo(time)
    expect(one.woken).toEqual([])
    for (const time of [1035, 1040, 1200]) turnTo(time)
    expect(one.woken).toEqual([1035])
    expect(wheel.size).toBe(0)
  })

  it('wakes again when a sleeper says so', () => {
    const { wheel, turnTo } = wheelAt(0)
    const one = sleeper((now) => now + 20)
    wheel.set(one, 20)
    for (let time = 0; time <= 100; time += 10) turnTo(time)
    expect(one.woken).toEqual([20, 40, 60, 80, 100])
  })

  it('waits for a time that is further off than the wheel is long', () => {
    const { wheel, turnTo } = wheelAt(0)
    const one = sleeper()
    wheel.set(one, 255)
    for (let time = 0; time < 255; time += 10) turnTo(time)
    expect(one.woken).toEqual([])
    turnTo(260)
    expect(one.woken).toEqual([260])
  })

  it('wakes everybody who is due after a long pause, at the next turn', () => {
    const { wheel, turnTo } = wheelAt(0)
    const all = Array.from({ length: 50 }, () => sleeper())
    for (const [i, one] of all.entries()) wheel.set(one, i * 7)
    turnTo(100_000)
    expect(all.every(({ woken }) => woken.length === 1)).toBe(true)
  })

  it('wakes one whose time has passed already at the next turn', () => {
    const { wheel, turnTo } = wheelAt(5000)
    const late = sleeper()
    wheel.set(late, 3)
    turnTo(5001)
    expect(late.woken).toEqual([5001])
  })

  it('forgets a sleeper that is deleted, and the earlier time of one that is set anew', () => {
    const { wheel, turnTo } = wheelAt(0)
    const [gone, moved] = [sleeper(), sleeper()]
    wheel.set(gone, 20)
    wheel.set(moved, 20)
    wheel.delete(gone)
    wheel.set(moved, 60)
    turnTo(50)
    expect([gone.woken, moved.woken]).toEqual([[], []])
    turnTo(60)
    expect([gone.woken, moved.woken]).toEqual([[], [60]])
  })

  it('turns by itself between start and stop, however often it is started', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const wheel = new TimerWheel({ tickMs: 10, slots: 8, now: () => performance.now() })
    const startedAt = performance.now()
    const one = sleeper((now) => now + 20)
    wheel.set(one, startedAt + 20)
    wheel.start()
    wheel.start()
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(60)
    expect(one.woken.map((at) => at - startedAt)).toEqual([20, 40, 60])
    wheel.stop()
    expect(vi.getTimerCount()).toBe(0)
    wheel.start()
    vi.advanceTimersByTime(20)
    expect(one.woken).toHaveLength(4)
    wheel.stop()
  })

  it('stands still while nobody has an alarm, and is on time after hours of that', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const wheel = new TimerWheel({ tickMs: 10, slots: 8, now: () => performance.now() })
    wheel.start()
    expect(vi.getTimerCount()).toBe(0)
    for (let turn = 0; turn < 2; turn++) {
      vi.advanceTimersByTime(3_600_005)
      const start = performance.now()
      const again = sleeper((now) => (now - start < 150 ? now + 100 : undefined))
      wheel.set(again, start + 25)
      vi.advanceTimersByTime(1000)
      expect(again.woken.map((at) => at - start)).toEqual([30, 130, 230])
      expect(vi.getTimerCount()).toBe(0)
    }
    wheel.set(sleeper(), performance.now() + 25)
    wheel.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
