import { describe, expect, it } from 'vitest'
import { IdentityCache } from '../../src/auth/identity-cache.ts'

const identity = (user: string, expiresAt = 1000) => ({ user, expiresAt })

describe('IdentityCache', () => {
  it('stays within its limit, and keeps at least half of it', () => {
    const cache = new IdentityCache(100)
    for (let i = 0; i < 10_000; i += 1) cache.set(`token ${i}`, 0, identity(`user ${i}`))
    // From the oldest on: looking one up moves it to the front.
    const kept = Array.from({ length: 10_000 }, (_, i) => i).filter((i) => cache.get(`token ${i}`, 0, 0))
    expect(kept.length).toBeLessThanOrEqual(100)
    expect(kept.length).toBeGreaterThanOrEqual(50)
    expect(kept).toContain(9999)
  })

  it('keeps a token that is used, whatever else passes through', () => {
    const cache = new IdentityCache(100)
    cache.set('hot', 0, identity('hot'))
    for (let i = 0; i < 10_000; i += 1) {
      cache.set(`token ${i}`, 0, identity('cold'))
      expect(cache.get('hot', 0, 0)?.user).toBe('hot')
    }
    expect(cache.get('token 0', 0, 0)).toBeUndefined()
    expect(cache.get('token 9999', 0, 0)).toBeDefined()
  })

  it('gives nothing at or after the end of the token', () => {
    const cache = new IdentityCache(10)
    cache.set('t', 0, identity('a', 500))
    expect(cache.get('t', 0, 499)).toBeDefined()
    expect(cache.get('t', 0, 500)).toBeUndefined()
    expect(cache.get('t', 0, 499)).toBeUndefined()
  })

  it('forgets everything when the keys change', () => {
    const cache = new IdentityCache(2)
    cache.set('one', 1, identity('a'))
    cache.set('two', 1, identity('b'))
    expect(cache.get('one', 2, 0)).toBeUndefined()
    expect(cache.get('two', 2, 0)).toBeUndefined()
  })

  it('does not keep what was verified under keys that are gone', () => {
    const cache = new IdentityCache(10)
    cache.get('anything', 2, 0)
    cache.set('late', 1, identity('a'))
    expect(cache.get('late', 2, 0)).toBeUndefined()
  })

  it('starts over where something verified under newer keys comes first', () => {
    const cache = new IdentityCache(10)
    cache.set('old', 1, identity('a'))
    cache.set('new', 2, identity('b'))
    expect(cache.get('old', 2, 0)).toBeUndefined()
    expect(cache.get('new', 2, 0)).toBeDefined()
  })
})
