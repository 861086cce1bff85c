import { describe, expect, it } from 'vitest'
import { humanLine } from '../../src/observability/human-line.ts'

const line = (fields: object) => humanLine(`${JSON.stringify(fields)}\n`, false)
const TIME = '2026-01-01T00:00:00.000Z'

describe('a log line for people', () => {
  it('is one line with the time, the level, the message and the details', () => {
    const text = line({ level: 'info', time: TIME, url: 'http://127.0.0.1:8080', n: 2, msg: 'listening' })
    expect(text).toMatch(/^\d\d:\d\d:\d\d info {2}listening {2}url=http:\/\/127\.0\.0\.1:8080 {2}n=2\n$/)
  })

  it('ends with the reason of an error, without its stack', () => {
    const err = { type: 'Error', message: 'no such file\nmore', stack: 'Error: no\n    at x' }
    expect(line({ level: 'error', time: TIME, err, msg: 'it failed' })).toMatch(
      / error it failed {2}no such file\n$/,
    )
  })

  it('has colours only where they are shown', () => {
    const json = JSON.stringify({ level: 'warn', time: TIME, msg: 'x' })
    expect(humanLine(json, true)).toContain('\u001b[')
    expect(humanLine(json, false)).not.toContain('\u001b[')
  })

  it('is left as it is where it is no JSON', () => {
    expect(humanLine('hello\n', false)).toBe('hello\n')
  })
})
