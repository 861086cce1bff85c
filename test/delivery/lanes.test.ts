import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { open } from '../support/clients/index.ts'
import { poll } from '../support/clients/poll.ts'
import { startInstance } from '../support/instance.ts'
import { upTo } from '../support/sql-writer.ts'

it('requests of users that hang starve neither streams nor the proof of the bus', {
  timeout: 60_000,
}, async () => {
  const instance = await startInstance()
  onTestFinished(() => instance.close())
  const sql = postgres(instance.database.url, { max: 2, onnotice: () => {} })
  onTestFinished(() => sql.end({ timeout: 0 }))
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const story = await alice.post()
  const stream = await open('sse', { url: instance.url, token: alice.token })
  onTestFinished(() => stream.close())
  const replaced = async () =>
    /^glimpse_bus_replaced_total (\d+)$/m.exec(await (await fetch(`${instance.url}/metrics`)).text())?.[1]
  const before = await replaced()
  expect(before).toBeDefined()

  await sql.begin(async (held) => {
    await held`lock table glimpse.stories, glimpse.tickets in access exclusive mode`
    const startedAt = performance.now()
    const hanging = Promise.all(
      upTo(40).flatMap(() => [
        bob.call('GET', `/stories/${story}`),
        bob.call('POST', '/tickets'),
        bob.call('POST', '/stories', {}),
      ]),
    )
    // For as long as they hang, longer than it takes a late canary to be noticed.
    for (let round = 0; performance.now() - startedAt < 4500; round++) {
      const began = performance.now()
      const opened = await open('ws', { url: instance.url, token: bob.token })
      opened.close()
      expect((await poll({ url: instance.url, token: alice.token, lastEventId: '0' })).status).toBe(200)
      await sql`select glimpse.append(row(${alice.user}, 'shop.sold', ${sql.json({ round })}, now())::glimpse.new_event)`
      await expect.poll(() => stream.events.length, { interval: 5 }).toBe(round + 1)
      expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
      // Less than the deadline of the statements that hang.
      expect(performance.now() - began).toBeLessThan(4500)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    // Tickets go in batches: one may wait for the batch before it.
    const statuses = (await hanging).map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([503]))
  })
  expect(await replaced()).toBe(before)
  expect((await bob.call('GET', `/stories/${story}`)).status).toBe(200)
})
