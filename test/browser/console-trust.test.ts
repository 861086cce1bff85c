import { execFileSync } from 'node:child_process'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { uniqueName } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'
import { ConsolePage, PANELS } from '../support/console-page.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'

const HOSTILE = `<img src=x onerror="globalThis.pwned=1">`

let browser: Browser
let instance: Instance
let production: Instance
let visited: ConsolePage

beforeAll(async () => {
  ;[browser, instance, production] = await Promise.all([
    launchBrowser(),
    startInstance(),
    startInstance({ NODE_ENV: 'production', PAGES: 'on' }),
  ])
})

afterAll(async () => {
  await browser?.close()
  await Promise.all([instance?.close(), production?.close()])
})

afterEach(async () => {
  await visited?.close()
})

async function paste(who: 'Author' | 'Viewer', token: string): Promise<void> {
  const person = visited.page.getByRole('region', { name: who })
  const field = visited.page.getByLabel(`${who}’s JWT`)
  if (!(await field.isVisible())) await person.getByText('Use your own token (JWT)').click()
  await field.fill(token)
  await visited.press('Use this token', person)
}

describe('what strangers write on the console', () => {
  it('shows hostile names and texts as text', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    await visited.rename('Author', `${uniqueName('a')} ${HOSTILE}`)
    await visited.isLive('Server-Sent Events')
    await visited.rename('Viewer', HOSTILE)
    await visited.page.getByLabel('Story').fill(HOSTILE)
    await visited.post()
    await visited.press(`View it as ${HOSTILE}`)
    await visited.hears('Server-Sent Events', 1)
    expect(await visited.heard('Server-Sent Events')).toEqual([`1 ${HOSTILE} viewed`])
    expect(await visited.page.locator('#story-shown').textContent()).toBe(HOSTILE)
    expect(await visited.page.locator('img').count()).toBe(0)
    expect(await visited.page.evaluate('globalThis.pwned')).toBeUndefined()
    expect(visited.complaints).toEqual([])
  })

  it('stays text under a policy that runs nothing inline, were it ever markup', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    await visited.page.evaluate((markup) => document.body.insertAdjacentHTML('beforeend', markup), HOSTILE)
    await expect.poll(() => visited.complaints.join()).toMatch(/Content Security Policy/)
    expect(await visited.page.evaluate('globalThis.pwned')).toBeUndefined()
  })

  it('cannot leave the quotes of the curl commands', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    const text = `it's $(touch pwned) \`id\` "; exit 1`
    await visited.page.getByLabel('Story').fill(text)
    await visited.post()
    const script = (await visited.page.locator('#commands').textContent()) ?? ''
    // curl stands for a function that prints the words it was given, one by one, past the pipes that read its answer.
    const curl = `exec 3>&1; sleep() { :; }; curl() { printf '%s\\n' "$@" >&3; echo '{"token":"t"}'; }`
    const words = execFileSync('sh', ['-c', `${curl}\n${script}`], { encoding: 'utf8' }).split('\n')
    expect(words).toContain(`${instance.url}/stories`)
    expect(words).toContain('Authorization: Bearer t')
    expect(words).toContain(JSON.stringify({ text }))
  })
})

describe('tokens on the console', () => {
  it('takes one’s own, in production too, where it is asked for', async () => {
    visited = await ConsolePage.open(browser, production.url)
    await expect.poll(() => visited.error.textContent()).toContain('Paste one for alice')
    const author = uniqueName('own-author')
    await paste('Author', await signToken(author))
    await visited.isLive('Server-Sent Events')
    await visited.isLive('WebSocket')
    await paste('Viewer', await signToken('own-viewer'))
    expect(await visited.page.getByLabel('Author’s user id').inputValue()).toBe(author)

    await visited.post()
    await visited.press('View it as own-viewer')
    await visited.hears('WebSocket', 1)
    expect(await visited.heard('WebSocket')).toEqual(['1 own-viewer viewed'])

    // No strangers here: the viewer makes the events of a breakage.
    await visited.press('Cut the connections')
    await expect
      .poll(() => visited.guide.textContent(), { timeout: 20_000 })
      .toContain('All events 2 to 5 arrived')
  })

  it('refuses what is no JWT, and reports one that the service refuses', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    await paste('Author', 'nonsense')
    await expect.poll(() => visited.error.textContent()).toContain('not a JWT')

    await paste('Author', await signToken('mallory', { secret: 'another-secret-0123456789-0123456789' }))
    for (const panel of PANELS) await visited.panel(panel).getByText('The token was not accepted').waitFor()
    await visited.press('Post a story')
    await expect.poll(() => visited.error.textContent()).toContain('The token was not accepted')
  })

  it('outlives a development token: both panels go on with a new one', async () => {
    visited = await ConsolePage.open(browser, instance.url)
    // Started in full: no request of this first load may still be on its way when the next one is counted.
    await expect.poll(() => visited.guide.textContent()).toContain('Post a story as alice')
    const author = uniqueName('alice')
    let issued = 0
    await visited.page.route('**/dev/tokens', async (route) => {
      const { user } = route.request().postDataJSON()
      const token = await signToken(user, { expiresIn: 3 })
      if (user === author) issued += 1
      await route.fulfill({ json: { token } })
    })
    await visited.page.reload()
    // Renamed while it connects, the browser would warn of the abandoned WebSocket.
    for (const panel of PANELS) await visited.isLive(panel)
    await visited.rename('Author', author)
    for (const panel of PANELS) await visited.isLive(panel)
    const atFirst = issued
    // Each panel has renewed its token three times: the first is long past its end.
    await expect.poll(() => issued, { timeout: 20_000 }).toBeGreaterThanOrEqual(atFirst + 6)
    await visited.post()
    await visited.press('View it as bob')
    await visited.hears('Server-Sent Events', 1)
    await visited.hears('WebSocket', 1)
    for (const panel of PANELS)
      expect(await visited.panel(panel).getByText('The connection was lost').count()).toBe(0)
    // Those of its requests had expired, and the console exchanged each after the one refusal.
    for (const complaint of visited.complaints) expect(complaint).toContain('401')
  })

  it('keeps them out of the address and of localStorage', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    await paste('Author', await signToken(uniqueName('alice')))
    await visited.isLive('Server-Sent Events')
    expect(visited.page.url()).toBe(`${instance.url}/`)
    expect(await visited.page.evaluate(() => localStorage.length)).toBe(0)
    expect(await visited.page.getByLabel('Author’s JWT').inputValue()).toBe('')
  })
})
