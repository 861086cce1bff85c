import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clientNetwork, networkOf } from '../../src/limits/address.ts'
import { readRequest } from '../support/raw-request.ts'

describe('the network that limits count', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:1::203.0.113.7', '2001:db8:1:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['fe80::1%en-0.1', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['1:2:3:4:5:6:7::', '1:2:3:4::/64'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })

  it('is one for all 2^64 addresses of a /64', () => {
    const networks = new Set(
      Array.from({ length: 1000 }, (_, i) => networkOf(`2001:db8:1:2:${i.toString(16)}:${i}::${i % 9}`)),
    )
    expect([...networks]).toEqual(['2001:db8:1:2::/64'])
  })
})

it('is found for whatever Node takes for an IPv6 address', () => {
  const address = fc.ipV6().filter((text) => isIP(text) === 6)
  fc.assert(
    fc.property(address, (text) => {
      expect(networkOf(text)).toMatch(/^(?:(?:[0-9a-f]{1,4}:){4}:\/64|\d+\.\d+\.\d+\.\d+)$/)
    }),
  )
})

it('of a peer that is gone already is one for all such peers', () => {
  const request = { headers: {}, socket: { remoteAddress: undefined } } as unknown as IncomingMessage
  expect(clientNetwork(request, 0)).toBe('gone')
})

describe('the client behind TRUST_PROXY proxies', () => {
  const from = (hops: number, ...forwarded: string[]) =>
    readRequest(
      ['GET / HTTP/1.1', 'Host: x', ...forwarded.map((value) => `X-Forwarded-For: ${value}`)],
      (request) => clientNetwork(request, hops),
    )
  const PEER = '127.0.0.1'

  it.each([
    ['no proxy: the header is what anybody may write', 0, ['203.0.113.7'], PEER],
    ['one proxy: its own entry, the last', 1, ['198.51.100.1, 203.0.113.7'], '203.0.113.7'],
    ['two proxies: the last but one', 2, ['192.0.2.66, 198.51.100.1, 203.0.113.7'], '198.51.100.1'],
    ['more proxies than entries: the first', 3, ['198.51.100.1'], '198.51.100.1'],
    ['several headers are one list', 2, ['198.51.100.1', '203.0.113.7'], '198.51.100.1'],
    ['empty entries are none', 2, ['192.0.2.66, , 198.51.100.1,, 203.0.113.7,'], '198.51.100.1'],
    ['no header', 1, [], PEER],
    ['no address in it', 1, ['unknown'], PEER],
    ['a name in it, behind two', 2, ['<script>, 203.0.113.7'], '203.0.113.7'],
    ['a port on it', 1, ['203.0.113.7:4711'], '203.0.113.7'],
    ['IPv6 in brackets, with a port', 1, ['[2001:db8:1:2::9]:4711'], '2001:db8:1:2::/64'],
    ['an empty header', 1, [''], PEER],
    ['an empty entry first, behind more proxies than entries', 3, [', 198.51.100.1'], '198.51.100.1'],
    ['nothing but empty entries', 2, [',,'], PEER],
    ['IPv6 in brackets, without a port', 1, ['[2001:db8:1:2::9]'], '2001:db8:1:2::/64'],
    ['something before an address', 1, ['for=203.0.113.7:4711'], PEER],
    ['something after a port', 1, ['203.0.113.7:4711x'], PEER],
  ])('%s', async (_what, hops, forwarded, network) => {
    expect(await from(hops, ...forwarded)).toBe(network)
  })
})
