import type postgres from 'postgres'
import type { Config } from '../../config.ts'
import { CONNECTIONS } from '../../postgres/database.ts'
import { SESSION_SETTINGS } from '../../postgres/session.ts'
import { OLDEST_VERSION } from '../../store/requirements.ts'
import { type Finding, ok, problem, warning } from './finding.ts'

/** Facts about the server and our session. */
export interface Survey {
  readonly version: number
  readonly version_text: string
  readonly encoding: string
  readonly standby: boolean
  readonly read_only: boolean
  readonly role: string
  readonly database: string
  readonly max_connections: number
  readonly reserved: number
  readonly used: number
  readonly database_limit: number
  readonly database_used: number
  readonly role_limit: number
  readonly role_used: number
  readonly instances: number
  readonly queue_usage: number
  readonly clock_ms: number
  /** The settings that the service changes for its sessions, with their defaults here. */
  readonly settings: Readonly<Record<string, string>>
  readonly replication_role: string
  readonly quiet: boolean
  readonly fsync: string
  readonly synchronous_commit: string
  readonly stuck: readonly number[] | null
  /** The server process that answered. */
  readonly pid: number
  /** The process id announced at the start of the connection; a pooler makes up its own. */
  readonly announced_pid: number
  /** Postgres' clock minus ours, ms; at least, because the round trip is deducted. */
  readonly clock_off_ms: number
}

type Row = Omit<Survey, 'announced_pid' | 'clock_off_ms'>

export async function readSurvey(sql: postgres.Sql): Promise<Survey> {
  await sql`select 1`
  const before = Date.now()
  const rows = await sql<Row[]>`
    select current_setting('server_version_num')::int as version,
           current_setting('server_version') as version_text,
           current_setting('server_encoding') as encoding,
           pg_is_in_recovery() as standby,
           current_setting('transaction_read_only') = 'on' as read_only,
           current_user::text as role,
           current_database()::text as database,
           current_setting('max_connections')::int as max_connections,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
           (select sum(numbackends) from pg_stat_database)::int as used,
           d.datconnlimit as database_limit,
           pg_stat_get_db_numbackends(d.oid) as database_used,
           r.rolconnlimit as role_limit,
           (select count(*) from pg_stat_activity where usename = current_user)::int as role_used,
           (select count(*) from pg_stat_activity
             where application_name = 'glimpse-listen' and datname = current_database())::int as instances,
           pg_notification_queue_usage() as queue_usage,
           (extract(epoch from clock_timestamp()) * 1000)::float8 as clock_ms,
           (select json_object_agg(name, setting) from pg_settings
             where name = any (string_to_array(${Object.keys(SESSION_SETTINGS).join(' ')}, ' '))) as settings,
           current_setting('session_replication_role') as replication_role,
           coalesce(lower(current_setting('glimpse.quiet', true)) in ('on', 'true', 'yes', '1'), false) as quiet,
           current_setting('fsync') as fsync,
           current_setting('synchronous_commit') as synchronous_commit,
           (select array_agg(pid) from pg_stat_activity
             where state like 'idle in transaction%' and state_change < now() - interval '1 minute') as stuck,
           pg_backend_pid() as pid
      from pg_database d, pg_roles r
     where d.datname = current_database() and r.rolname = current_user`
  const after = Date.now()
  const [row] = rows
  if (row === undefined) throw new Error('the server told nothing of itself')
  const ahead = row.clock_ms - after
  const behind = before - row.clock_ms
  const clock_off_ms = ahead > 0 ? ahead : behind > 0 ? -behind : 0
  return { ...row, announced_pid: (rows.state as { pid: number }).pid, clock_off_ms }
}

export function checkServer(survey: Survey, config: Config): Finding[] {
  return [
    ...checkKind(survey),
    ...checkRoom(survey),
    checkClocks(survey.clock_off_ms),
    checkQueue(survey),
    ...checkSettings(survey, config),
  ]
}

function checkKind(survey: Survey): Finding[] {
  const { version, version_text, encoding, standby, read_only, role, database } = survey
  const findings: Finding[] = []
  if (version < OLDEST_VERSION)
    findings.push(
      problem('version', `Postgres ${version_text} is too old`, 'use Postgres 14 or newer (pg_upgrade)'),
    )
  else findings.push(ok('version', `Postgres ${version_text}`))
  if (encoding !== 'UTF8')
    findings.push(
      problem(
        'encoding',
        `the encoding of ${database} is ${encoding}`,
        `create the database with createdb -E UTF8 -T template0`,
      ),
    )
  if (standby)
    findings.push(
      problem(
        'writable',
        'DATABASE_URL names a standby, which can neither write nor LISTEN',
        'name the primary, or a name that follows it at a failover',
      ),
    )
  else if (read_only)
    findings.push(
      problem(
        'writable',
        `transactions of ${role} in ${database} are read-only`,
        `alter database "${database}" reset default_transaction_read_only (or alter role "${role}" …)`,
      ),
    )
  return findings
}

/** They end sessions that a pooler keeps, or hold for transactions that we don't begin. */
const HARMLESS: ReadonlySet<string> = new Set(['idle_session_timeout', 'default_transaction_deferrable'])

/** A reserve for `glimpse migrate`, psql and this command. */
const SPARE_CONNECTIONS = 3

function checkRoom(survey: Survey): Finding[] {
  const needed = Object.values(CONNECTIONS).reduce((sum: number, most) => sum + most, 0)
  const bounds = [
    { of: 'max_connections', left: survey.max_connections - survey.reserved - survey.used },
    ...(survey.database_limit < 0
      ? []
      : [{ of: `the limit of ${survey.database}`, left: survey.database_limit - survey.database_used }]),
    ...(survey.role_limit < 0
      ? []
      : [{ of: `the limit of ${survey.role}`, left: survey.role_limit - survey.role_used }]),
  ]
  const tightest = bounds.reduce((a, b) => (b.left < a.left ? b : a))
  const says = `${Math.max(tightest.left, 0)} connections are left of ${tightest.of}; an instance opens up to ${needed}`
  if (tightest.left >= needed + SPARE_CONNECTIONS) return [ok('connections', says)]
  const fix =
    `raise max_connections, or the limit of the database or role, to ${needed} for each instance and some to spare; ` +
    'or put a pooler in DATABASE_URL and the direct way in LISTEN_DATABASE_URL'
  // Running instances have their connections already.
  return [survey.instances > 0 ? warning('connections', says, fix) : problem('connections', says, fix)]
}

function checkClocks(off: number): Finding {
  const seconds = (Math.abs(off) / 1000).toFixed(1)
  const says = `Postgres' clock is ${seconds} s ${off < 0 ? 'behind' : 'ahead of'} this machine's`
  if (Math.abs(off) < 1000) return ok('clocks', 'this machine and Postgres agree within a second')
  const fix =
    'synchronise both by NTP (timedatectl set-ntp true): tokens expire by the one, stories by the other'
  return Math.abs(off) < 10_000 ? warning('clocks', says, fix) : problem('clocks', says, fix)
}

function checkQueue({ queue_usage, stuck }: Survey): Finding {
  const percent = Math.round(queue_usage * 100)
  const says = `the cluster's NOTIFY queue is ${percent} % full`
  if (queue_usage < 0.1) return ok('notify queue', says)
  const who =
    stuck === null ? 'a session that is idle in a transaction after LISTEN' : `pid ${stuck.join(', ')}`
  const fix = `end what holds it: ${who} (pg_terminate_backend)`
  if (queue_usage < 0.5) return warning('notify queue', says, fix)
  return problem('notify queue', `${says}: events are no longer announced and come seconds late`, fix)
}

function checkSettings(survey: Survey, config: Config): Finding[] {
  const { fsync, synchronous_commit, stuck, role, settings, replication_role, quiet } = survey
  const findings: Finding[] = []
  if (replication_role !== 'origin')
    findings.push(
      problem(
        'settings',
        `session_replication_role is ${replication_role}: no trigger fires, and nothing that is written makes an event`,
        `as a superuser: alter role "${role}" reset session_replication_role (or alter database …)`,
      ),
    )
  if (quiet)
    findings.push(
      problem(
        'settings',
        'glimpse.quiet is on by default, and nothing that is written makes an event',
        `as a superuser: alter role "${role}" reset "glimpse.quiet" (or alter database …)`,
      ),
    )
  for (const [name, wanted] of Object.entries(SESSION_SETTINGS)) {
    const found = settings[name] ?? wanted
    if (found === wanted || HARMLESS.has(name)) continue
    findings.push(
      problem(
        'settings',
        `${name} is ${found}, and behind a transaction pooler no session can set it to ${wanted}`,
        `alter role "${role}" set ${name} = '${wanted}'`,
      ),
    )
  }
  const lossy = [
    ...(fsync === 'off' ? ['fsync'] : []),
    ...(synchronous_commit === 'off' ? ['synchronous_commit'] : []),
  ]
  if (lossy.length > 0) {
    const says = `${lossy.join(' and ')} off: a write that was answered can be lost when Postgres crashes`
    const fix = `set ${lossy.join(' and ')} to on; writes go in batches, so it costs next to nothing`
    findings.push(config.production ? problem('settings', says, fix) : warning('settings', says, fix))
  }
  if (stuck !== null)
    findings.push(
      warning(
        'sessions',
        `idle in a transaction for over a minute: pid ${stuck.join(', ')}; their locks hold others up`,
        'end them (pg_terminate_backend), and set idle_in_transaction_session_timeout for their role',
      ),
    )
  return findings
}
