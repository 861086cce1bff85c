import type { Config } from '../../config.ts'
import { locateBinaries } from '../../embedded/binaries.ts'
import { runningUrl } from '../../embedded/running.ts'
import { StartError } from '../../errors.ts'
import { type ConnectionOptions, parseConnectionUrl } from '../../postgres/connection-url.ts'
import type { Session } from '../../postgres/session.ts'
import {
  type Command,
  type Environment,
  EXIT,
  type Parsed,
  parse,
  type Terminal,
  UsageError,
} from '../command.ts'
import { type RoleAndTasks, roleAndTasks } from '../grants.ts'
import { parseRelayConfig } from '../relay.ts'
import { checkConfiguration } from './configuration.ts'
import { connectionProblem, openDatabase } from './connection.ts'
import { checkDelivery } from './delivery.ts'
import { attempt, type Finding, ok, problem, skipped } from './finding.ts'
import { checkKeySets } from './keys.ts'
import { checkDataDir, checkDescriptors, checkNode, checkPort } from './machine.ts'
import { checkNats } from './nats.ts'
import type { Role } from './nats-rights.ts'
import { count, formatReport } from './report.ts'
import { checkRole, checkSchema } from './schema.ts'
import { checkServer, readSurvey, type Survey } from './server.ts'

const HELP = `Usage: glimpse doctor [--json] [--relay] [--role <role> --for <task>[,<task>…]]

Looks for everything that would keep an instance with these variables from working, and says how to fix it:
Node, the variables, .env, open files, the port, DATA_DIR and its disk, the key set, the database (reachable, version,
encoding, writable, room for connections, settings), clocks, the NOTIFY queue, migrations, rights, triggers (by a view
that is rolled back), and whether a NOTIFY comes back over LISTEN. With BUS_URL: each NATS server (reachable, TLS,
credentials), what these credentials may say and hear there, whether a notification comes back through the relay, and
whether another database has the same BUS_NAMESPACE. It changes nothing and starts nothing.

  --relay  what glimpse relay needs instead, with its variables
  --json   {"ok": boolean, "findings": [{"check", "verdict", "says", "fix"?}]} instead of lines;
           verdict is ok, warning, problem or skipped
  --role, --for   also whether this role has the rights that the tasks of glimpse grants need

Examples:
  glimpse doctor
  BUS_URL=tls://relay:…@nats.example DATABASE_URL=postgres://… glimpse doctor --relay
  glimpse doctor --role app_user --for write,react
  glimpse doctor --json | jq '.findings[] | select(.verdict != "ok")'

Exit codes: 0 no problem (there may be warnings), 1 at least one problem, 2 called wrongly.
`

export const doctor: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, {
      json: { type: 'boolean' },
      relay: { type: 'boolean' },
      role: { type: 'string' },
      for: { type: 'string' },
    })
    if (positionals.length > 0) throw new UsageError('doctor takes no arguments')
    const wanted = values.role === undefined && values.for === undefined ? undefined : roleAndTasks(values)
    if (values.relay === true) return report(await examineRelay(environment), values, stdout)
    const { findings: configuration, config, databaseUnknown, busUnknown } = checkConfiguration(environment)
    const findings = [
      ...checkNode(process.version),
      ...configuration,
      ...(await attempt('open files', async () => checkDescriptors(config, environment))),
      ...(
        await Promise.all([
          attempt('port', () => checkPort(config)),
          attempt('data folder', () =>
            checkDataDir(config, { embedded: config.database === undefined && !databaseUnknown }),
          ),
          attempt('key set', () => checkKeySets(config.auth.jwksUrls)),
          databaseUnknown
            ? [skipped('database', 'DATABASE_URL has to be fixed first')]
            : attempt('database', () => checkDatabase(config, wanted), 40_000),
          natsFindings(config, 'instance', busUnknown),
        ])
      ).flat(),
    ]
    return report(findings, values, stdout)
  },
}

function report(
  findings: readonly Finding[],
  { json }: Parsed['values'],
  stdout: Terminal['stdout'],
): number {
  const healthy = count(findings, 'problem') === 0
  stdout.write(
    json ? `${JSON.stringify({ ok: healthy, findings }, undefined, 2)}\n` : formatReport(findings, stdout),
  )
  return healthy ? EXIT.ok : EXIT.problem
}

/** A relay serves nobody and writes nothing: of the database it needs LISTEN alone. */
async function examineRelay(environment: Environment): Promise<Finding[]> {
  const { findings, config, databaseUnknown, busUnknown } = checkConfiguration(environment, parseRelayConfig)
  const { bus, database = config.listenDatabase } = config
  if ((bus === undefined && !busUnknown) || (database === undefined && !databaseUnknown))
    findings.push(
      problem(
        'configuration',
        'glimpse relay needs BUS_URL and DATABASE_URL or LISTEN_DATABASE_URL',
        'set both in its environment',
      ),
    )
  const [listen, nats] = await Promise.all([
    database === undefined
      ? [skipped('database', 'the variables of the database have to be fixed first')]
      : attempt('database', () => checkRelayDatabase(config, database), 40_000),
    natsFindings(config, 'relay', busUnknown),
  ])
  return [...checkNode(process.version), ...findings, ...listen, ...nats]
}

async function natsFindings(config: Config, role: Role, unknown: boolean): Promise<readonly Finding[]> {
  if (unknown) return [skipped('nats', 'the variables of BUS_URL have to be fixed first')]
  return attempt('nats', () => checkNats(config, role), 40_000)
}

async function checkRelayDatabase(
  { listenDatabase: listen, databasePooler: pooler }: Config,
  database: ConnectionOptions,
): Promise<readonly Finding[]> {
  let session: Session
  try {
    session = await openDatabase(database, database === listen ? 'none' : pooler)
  } catch (error) {
    return [connectionProblem(database === listen ? 'LISTEN_DATABASE_URL' : 'DATABASE_URL', database, error)]
  }
  try {
    const { sql } = session
    const [delivery, readable] = await Promise.all([
      readSurvey(sql).then((survey) => checkDelivery(sql, survey, { database, listen, pooler })),
      sql`select glimpse.epoch(), channel from glimpse.history`.then(
        () => ok('rights', 'the role may read where events are notified'),
        (error: Error) =>
          problem(
            'rights',
            `glimpse.history cannot be read: ${error.message}`,
            'run glimpse migrate if there is no schema yet; else as its owner: grant usage on schema glimpse, select on glimpse.history',
          ),
      ),
    ])
    return [...delivery, readable]
  } finally {
    await session.end()
  }
}

async function checkDatabase(config: Config, wanted: RoleAndTasks | undefined): Promise<readonly Finding[]> {
  const database = config.database ?? (await runningDatabase(config))
  if (database === undefined) return checkEmbedded()
  let session: Session
  let survey: Survey
  try {
    session = await openDatabase(database, config.databasePooler)
    survey = await readSurvey(session.sql)
  } catch (error) {
    return [
      connectionProblem('DATABASE_URL', database, error),
      skipped('listen', 'without the database nothing more can be looked at'),
    ]
  }
  const { sql } = session
  try {
    return [
      ...checkServer(survey, config),
      ...(await attempt('migrations', () => checkSchema(sql, survey, config))),
      ...(wanted === undefined
        ? []
        : await attempt('rights', () => checkRole(sql, wanted.role, wanted.tasks))),
      ...(await attempt('listen', () =>
        checkDelivery(sql, survey, {
          database,
          listen: config.listenDatabase,
          pooler: config.databasePooler,
        }),
      )),
    ]
  } finally {
    await session.end()
  }
}

async function runningDatabase({ dataDir }: Config): Promise<ConnectionOptions | undefined> {
  const url = await runningUrl(dataDir).catch(() => undefined)
  return url === undefined ? undefined : parseConnectionUrl(url)
}

async function checkEmbedded(): Promise<Finding[]> {
  try {
    await locateBinaries(process.platform, process.arch)
    return [skipped('database', 'the embedded Postgres does not run now; glimpse serve starts it')]
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    return [problem('database', error.message, 'set DATABASE_URL, or npm install --include=optional')]
  }
}
