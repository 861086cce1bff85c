import { expect } from 'vitest'
import type { Problem, Reply } from './api.ts'

/** A refusal as the contract has it: RFC 9457's media type, and the code in `type`. */
export function expectProblem(reply: Reply<Problem>, status: number, code: string): void {
  expect([reply.status, reply.json]).toEqual([
    status,
    expect.objectContaining({ type: `urn:glimpse:problem:${code}`, title: expect.any(String), status }),
  ])
  expect(reply.headers.get('content-type')).toMatch(/^application\/problem\+json\b/)
}
