import { execFile } from 'node:child_process'
import { access, chmod, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Browser, chromium, type Page } from 'playwright-core'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const SYSTEM_CHROMIUMS = [
  '/usr/bin/chromium',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/google-chrome',
  '/opt/google/chrome/chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]

interface Executable {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
}

/**
 * A headless Chromium: `CHROMIUM_PATH`, else an installed one, else the one that came with npm, which needs nothing
 * else on the machine.
 */
export async function launchBrowser(...more: string[]): Promise<Browser> {
  const { path, env } = await findChromium()
  return chromium.launch({
    executablePath: path,
    env,
    args: [
      // Root has no sandbox, nor has a container without user namespaces; the pages here are our own.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // The default /dev/shm of a container holds 64 MB, and Chromium crashes where it runs out.
      '--disable-dev-shm-usage',
      ...more,
    ],
  })
}

/** What went wrong on a page without anybody asking: uncaught errors, console errors, CSP violations, dialogs. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  return complaints
}

async function findChromium(): Promise<Executable> {
  const chosen = process.env.CHROMIUM_PATH
  if (chosen !== undefined && chosen !== '') return { path: chosen, env: process.env }
  for (const path of SYSTEM_CHROMIUMS) {
    // Asked, not only looked for: some distributions put a script there that says to install a snap.
    if (await starts({ path, env: process.env })) return { path, env: process.env }
  }
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('no Chrome or Chromium found: install one, or name it in CHROMIUM_PATH')

  const directory = await unpack()
  const path = join(directory, 'chromium')
  // The package's font is found through XDG_DATA_HOME where the system has none: without a font, no text is drawn.
  const env = { ...process.env, XDG_DATA_HOME: directory }
  if (await starts({ path, env })) return { path, env }
  // A bare system lacks NSS, NSPR or expat. The package has them too, for a system that lacks them as well.
  const libraries = [join(directory, 'al2023', 'lib'), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  const helped = { path, env: { ...env, LD_LIBRARY_PATH: libraries } }
  await version(helped)
  return helped
}

function version({ path, env }: Executable): Promise<{ stdout: string }> {
  return run(path, ['--version'], { env, timeout: 20_000 })
}

function starts(executable: Executable): Promise<boolean> {
  return version(executable).then(
    () => true,
    () => false,
  )
}

/**
 * The folder with the npm package's Chromium, its font and its libraries, unpacked once. The package itself unpacks
 * straight into the temporary folder, where a second process takes the half-written file for a whole one; here each
 * process unpacks aside and the rename decides who was first.
 */
async function unpack(): Promise<string> {
  const manifest = await readFile(join(ROOT, 'node_modules/@sparticuz/chromium/package.json'), 'utf8')
  const cache = join(ROOT, 'node_modules/.cache')
  const directory = join(cache, `chromium-${JSON.parse(manifest).version}`)
  if (await exists(join(directory, 'chromium'))) return directory

  await mkdir(cache, { recursive: true })
  const aside = await mkdtemp(join(cache, 'chromium-unpacking-'))
  try {
    await run(
      process.execPath,
      ['--input-type=module', '-e', "await (await import('@sparticuz/chromium')).default.executablePath()"],
      // It unpacks its libraries only on the platform they are meant for.
      { cwd: ROOT, env: { ...process.env, TMPDIR: aside, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs20.x' } },
    )
    // Both were made private; another user of the same checkout must find them usable.
    await chmod(aside, 0o755)
    await chmod(join(aside, 'chromium'), 0o755)
    await rename(aside, directory).catch(async (error) => {
      // ENOTEMPTY or EEXIST: another process was first, and its copy is as good.
      if (!(await exists(join(directory, 'chromium')))) throw error
    })
  } finally {
    await rm(aside, { recursive: true, force: true })
  }
  return directory
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
