import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Subjects } from '../../src/bus/subjects.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { checkNats } from '../../src/cli/doctor/nats.ts'
import type { Role } from '../../src/cli/doctor/nats-rights.ts'
import { parseRelayConfig } from '../../src/cli/relay.ts'
import { parseConfig } from '../../src/config.ts'
import { type Certificates, hasOpenssl, makeCertificates } from '../support/certificates.ts'
import { glimpse } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { NATS_PASSWORDS, NATS_SAMPLE, NatsServer, withoutNats } from '../support/nats-server.ts'
import { TEST_SECRET } from '../support/token.ts'

/** What is wrong; its variables; the check that finds it; what it says; how to fix it. */
type Row = readonly [string, () => Environment | Promise<Environment>, string, RegExp, RegExp]
type Environment = Readonly<Record<string, string>>

let database: TestDatabase
let folder: string
beforeAll(async () => {
  database = await createDatabase()
  folder = await mkdtemp(join(tmpdir(), 'glimpse-doctor-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
  await database?.drop()
})

const variables = (environment: Environment) => ({
  DATABASE_URL: database.url,
  JWT_SECRET: TEST_SECRET,
  ...environment,
})

/** Its findings in this process, because each start of the command takes a second; the last tests start it. */
function look(environment: Environment, role: Role = 'instance'): Promise<readonly Finding[]> {
  const parse = role === 'instance' ? parseConfig : parseRelayConfig
  const parsed = parse(variables(environment))
  if (!parsed.ok) throw new Error(parsed.problems.join('; '))
  return checkNats(parsed.config, role)
}

async function found(environment: Environment, role?: Role): Promise<string[]> {
  return (await look(environment, role)).map(({ check, verdict, says }) => `${verdict} ${check}: ${says}`)
}

/** All at once: most of the time of each is waiting. */
async function explains(rows: readonly Row[]): Promise<void> {
  await Promise.all(
    rows.map(async ([what, plant, check, says, fix]) => {
      const problems = (await look(await plant())).filter(({ verdict }) => verdict === 'problem')
      expect(problems, what).toContainEqual({
        check,
        verdict: 'problem',
        says: expect.stringMatching(says),
        fix: expect.stringMatching(fix),
      })
      expect(JSON.stringify(problems), what).not.toMatch(/wr0ng|password-of/)
    }),
  )
}

describe.skipIf(withoutNats)(`of NATS, glimpse doctor (${withoutNats ?? 'nats-server'})`, () => {
  let nats: NatsServer
  beforeAll(async () => {
    nats = await NatsServer.start({ config: NATS_SAMPLE })
  })
  afterAll(() => nats?.kill())

  it('explains what is wrong, and how to fix it', async () => {
    const garbage = join(folder, 'garbage')
    await writeFile(garbage, 'garbage')
    await explains([
      [
        'a NATS server that does not run',
        () => ({ BUS_URL: 'nats://127.0.0.1:1' }),
        'nats',
        /^BUS_URL: 127\.0\.0\.1:1 cannot be reached/,
        /start nats-server, or correct host and port/,
      ],
      [
        'a NATS server that has no name',
        () => ({ BUS_URL: 'nats://no-such-host.invalid' }),
        'nats',
        /no-such-host\.invalid:4222/,
        /correct the host in BUS_URL/,
      ],
      [
        'a wrong password for NATS',
        () => ({ BUS_URL: `nats://both:wr0ng@127.0.0.1:${nats.port}` }),
        'nats',
        /refuses the user or the password in BUS_URL/,
        /deploy\/nats\.conf takes its passwords from its environment/,
      ],
      [
        'no password where NATS wants one',
        () => ({ BUS_URL: nats.url }),
        'nats',
        /asks for credentials, and BUS_URL has none/,
        /put user and password into BUS_URL/,
      ],
      [
        'what is no seed in BUS_CREDENTIALS',
        () => ({ BUS_URL: nats.url, BUS_CREDENTIALS: garbage }),
        'nats',
        /refuses BUS_CREDENTIALS: nkeys: /,
        /credentials file/,
      ],
      [
        'a NATS server that does not encrypt',
        () => ({ BUS_URL: nats.urlFor('both').replace('nats:', 'tls:') }),
        'nats',
        /does not support 'tls'/,
        /give nats-server a certificate/,
      ],
      [
        'an instance that is to relay with the rights of one that only hears',
        () => ({ BUS_URL: nats.urlFor('instance') }),
        'nats rights',
        /an instance with BUS_RELAY=on may not .*publish glimpse\.u\.\*/,
        /or set BUS_RELAY=off/,
      ],
      [
        'an instance with the rights of a relay alone',
        () => ({ BUS_URL: nats.urlFor('relay'), BUS_RELAY: 'off' }),
        'nats rights',
        /BUS_RELAY=off may not subscribe glimpse\.u\.\*, subscribe glimpse\.i\.\*, subscribe glimpse\.gap/,
        /compare the rights of this user with deploy\/nats\.conf/,
      ],
      [
        'a namespace for which the user has no rights',
        () => ({ BUS_URL: nats.urlFor('both'), BUS_NAMESPACE: 'other' }),
        'nats rights',
        /may not subscribe other\.u\.\*/,
        /BUS_NAMESPACE begins every subject/,
      ],
    ])
  })

  it('finds nothing wrong before anything runs, and says that no relay works yet', async () => {
    expect(await found({ BUS_URL: nats.urlFor('both') })).toEqual([
      expect.stringMatching(/^ok nats: .* accepts us/),
      'ok nats rights: an instance with BUS_RELAY=on may do all it needs',
      'ok nats namespace: no other database was heard in glimpse',
      expect.stringMatching(/^skipped nats relay: no relay works now .* this process would/),
    ])
    expect(await found({ BUS_URL: nats.urlFor('instance'), BUS_RELAY: 'off' })).toContainEqual(
      expect.stringMatching(/^warning nats relay: no relay works/),
    )
  })

  it('hears a notification come back through the relay, and tells of one that is connected elsewhere', async () => {
    const instance = await startInstance({ BUS_URL: nats.urlFor('both') }, { database })
    onTestFinished(() => instance.close())
    for (const environment of [
      { BUS_URL: nats.urlFor('both') },
      { BUS_URL: nats.urlFor('instance'), BUS_RELAY: 'off' },
    ])
      expect(await found(environment)).toContainEqual(
        expect.stringMatching(/^ok nats relay: a notification came back through the relay in \d+ ms$/),
      )
    const elsewhere = await NatsServer.start({ config: NATS_SAMPLE })
    onTestFinished(() => elsewhere.kill())
    expect(await found({ BUS_URL: elsewhere.urlFor('instance'), BUS_RELAY: 'off' })).toContainEqual(
      expect.stringMatching(
        /^problem nats relay: a relay works for this database \(Postgres process \d+\), but/,
      ),
    )
  })

  it('tells that another database uses the namespace, with the rights of an instance and of a relay', async () => {
    // On a database of its own.
    const other = await startInstance({ BUS_URL: nats.urlFor('both') })
    onTestFinished(() => other.close())
    const taken = expect.stringMatching(
      /^problem nats namespace: another database uses BUS_NAMESPACE glimpse/,
    )
    expect(await found({ BUS_URL: nats.urlFor('instance'), BUS_RELAY: 'off' })).toContainEqual(taken)
    expect(await found({ BUS_URL: nats.urlFor('relay') }, 'relay')).toContainEqual(taken)
  })

  it('warns of rights that are too wide', async () => {
    expect(await found({ BUS_URL: nats.urlFor('both'), BUS_RELAY: 'off' })).toContainEqual(
      expect.stringMatching(/^warning nats rights: BUS_RELAY is off, but these credentials may publish/),
    )
    const open = await NatsServer.start()
    onTestFinished(() => open.kill())
    const everything = expect.stringMatching(/^warning nats rights: .* may publish on every subject/)
    expect(await found({ BUS_URL: open.url, NODE_ENV: 'production' })).toContainEqual(everything)
    // As the page on scaling starts it, on a developer's machine.
    expect(await found({ BUS_URL: open.url })).not.toContainEqual(everything)
  })

  it('warns of a cluster that has lost a server', async () => {
    const url = `${nats.urlFor('both')},nats://both:${NATS_PASSWORDS.both}@127.0.0.1:1`
    const findings = await look({ BUS_URL: url })
    expect(findings.filter(({ verdict }) => verdict === 'problem')).toEqual([])
    expect(findings).toContainEqual(
      expect.objectContaining({
        check: 'nats',
        verdict: 'warning',
        says: expect.stringContaining('127.0.0.1:1'),
      }),
    )
  })

  it('publishes nothing that anybody acts on', async () => {
    const subjects = new Subjects('glimpse')
    const heard: string[] = []
    const listener: NatsConnection = await connect({
      servers: `127.0.0.1:${nats.port}`,
      user: 'both',
      pass: NATS_PASSWORDS.both,
    })
    onTestFinished(() => listener.close())
    for (const subject of ['glimpse.u.*', 'glimpse.i.*', subjects.gap, subjects.queue, subjects.beat])
      listener.subscribe(subject, { callback: (_, message) => void heard.push(message.string()) })
    await listener.flush()
    await found({ BUS_URL: nats.urlFor('both') })
    await listener.flush()
    expect(heard).toEqual(Array(5).fill(''))
  })

  it('tells a relay that it may not publish', async () => {
    expect(await found({ BUS_URL: nats.urlFor('instance') }, 'relay')).toContainEqual(
      expect.stringMatching(
        /^problem nats rights: BUS_URL: a relay may not subscribe glimpse\.beat, publish glimpse\.u/,
      ),
    )
  })

  describe.skipIf(!hasOpenssl)('encrypted', () => {
    let own: Certificates
    let encrypted: NatsServer
    beforeAll(async () => {
      own = makeCertificates(folder, ['127.0.0.1', 'nats.example'])
      encrypted = await NatsServer.start({
        config: NATS_SAMPLE,
        args: ['--tls', '--tlscert', own.cert, '--tlskey', own.key],
      })
    })
    afterAll(() => encrypted?.kill())
    const url = () => encrypted.urlFor('both').replace('nats:', 'tls:')

    it('says how it connected', async () => {
      expect(await found({ BUS_URL: url(), BUS_CA: own.ca, NODE_ENV: 'production' })).toContainEqual(
        expect.stringMatching(/^ok nats: .*, encrypted\)$/),
      )
    })

    it('explains what is wrong', async () => {
      await explains([
        [
          'a certificate of an authority that is not known',
          () => ({ BUS_URL: url() }),
          'nats',
          /unable to verify/,
          /set BUS_CA to the certificate of the authority/,
        ],
        [
          'the authority of another',
          () => ({ BUS_URL: url(), BUS_CA: makeCertificates(folder, ['127.0.0.1'], 'other-').ca }),
          'nats',
          /unable to verify|self-signed/,
          /set BUS_CA/,
        ],
        [
          'a certificate for other names',
          () => ({ BUS_URL: url().replace('127.0.0.1', 'localhost'), BUS_CA: own.ca }),
          'nats',
          /localhost.* altnames|altnames.*localhost/i,
          /connect by a name that is in the certificate/,
        ],
      ])
    })
  })

  describe('as a command', () => {
    const examine = async (args: readonly string[], environment: Environment) => {
      const { code, stdout } = await glimpse(['doctor', '--json', ...args], { cwd: folder, environment })
      return { code, findings: JSON.parse(stdout).findings as Finding[] }
    }

    it('ends with 1 where NATS is not as it must be, and tries nothing with variables that are wrong', async () => {
      const environment = {
        ...variables({ BUS_URL: nats.urlFor('instance') }),
        PORT: '0',
        MAX_CONNECTIONS: '9',
      }
      const [refused, wrong] = await Promise.all([
        examine([], environment),
        examine([], { ...environment, BUS_CA: '/nowhere/ca.pem' }),
      ])
      expect(refused.code).toBe(1)
      expect(
        refused.findings.filter(({ verdict }) => verdict === 'problem').map(({ check }) => check),
      ).toEqual(['nats rights'])
      expect(wrong.findings.filter(({ check }) => check === 'nats')).toEqual([
        { check: 'nats', verdict: 'skipped', says: 'the variables of BUS_URL have to be fixed first' },
      ])
    })

    it('--relay needs no key, no port and no rights of an instance', async () => {
      const environment = { NODE_ENV: 'production', BUS_URL: nats.urlFor('relay') }
      const [{ code, findings }, direct, bare] = await Promise.all([
        examine(['--relay'], { ...environment, DATABASE_URL: database.url }),
        examine(['--relay'], { ...environment, LISTEN_DATABASE_URL: database.url, ADMIN_PORT: '8080' }),
        examine(['--relay'], {}),
      ])
      expect(direct.findings.map(({ check, verdict }) => [check, verdict])).toEqual(
        findings.map(({ check, verdict }) => [check, verdict]),
      )
      expect(findings.filter(({ verdict }) => verdict !== 'ok').map(({ check }) => check)).toEqual([
        'nats relay',
      ])
      expect(findings.map(({ check }) => check)).toEqual([
        ...[
          'node',
          'configuration',
          'listen',
          'rights',
          'nats',
          'nats rights',
          'nats namespace',
          'nats relay',
        ],
      ])
      expect(code).toBe(0)
      expect([bare.code, bare.findings]).toEqual([
        1,
        expect.arrayContaining([
          expect.objectContaining({
            says: 'glimpse relay needs BUS_URL and DATABASE_URL or LISTEN_DATABASE_URL',
          }),
        ]),
      ])
    })
  })
})
