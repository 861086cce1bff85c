import { randomBytes } from 'node:crypto'
import type { NatsConnection } from '@nats-io/transport-node'
import { Subjects } from '../../bus/subjects.ts'
import { type Finding, ok, problem, warning } from './finding.ts'

/** What the process is: an instance, or a `glimpse relay`, which hears no events. */
export type Role = 'instance' | 'relay'

const CHECK = 'nats rights'
const SAMPLE = 'compare the rights of this user with deploy/nats.conf; BUS_NAMESPACE begins every subject'

/**
 * Tries each right on the server: NATS does not tell them. What is published is empty, which everybody ignores, or goes to
 * users and instances that do not exist.
 */
export async function checkRights(
  connection: NatsConnection,
  { namespace, relay }: { readonly namespace: string; readonly relay: boolean },
  role: Role,
  production: boolean,
): Promise<Finding[]> {
  const subjects = new Subjects(namespace)
  const nobody = `doctor ${randomBytes(9).toString('hex')}`
  const { user, instance } = { user: subjects.user(nobody), instance: subjects.instance(nobody) }
  const elsewhere = new Subjects(`glimpse-doctor-${randomBytes(6).toString('hex')}`).user(nobody)
  const relays = role === 'relay' || relay
  const toHear = [
    ...(role === 'instance' ? [user, instance, subjects.gap, subjects.queue] : []),
    ...(relays ? [subjects.beat] : []),
  ]
  const toSay = relays ? [user, instance, subjects.gap, subjects.queue, subjects.beat] : []

  const refused = { publish: new Set<string>(), subscription: new Set<string>() }
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== 'error') continue
      const { operation, subject } = status.error as Partial<{
        operation: keyof typeof refused
        subject: string
      }>
      if (operation !== undefined && subject !== undefined) refused[operation].add(subject)
    }
  })()
  const subscriptions = toHear.map((subject) => connection.subscribe(subject, { callback: () => {} }))
  for (const subject of new Set([...toSay, user, elsewhere])) connection.publish(subject, '')
  // Refusals come before the answers to what was sent later.
  await connection.flush()
  await connection.flush()
  for (const subscription of subscriptions) subscription.unsubscribe()

  const pattern = (subject: string) =>
    subject === user ? `${namespace}.u.*` : subject === instance ? `${namespace}.i.*` : subject
  const lacking = [
    ...toHear
      .filter((subject) => refused.subscription.has(subject))
      .map((one) => `subscribe ${pattern(one)}`),
    ...toSay.filter((subject) => refused.publish.has(subject)).map((one) => `publish ${pattern(one)}`),
  ]
  const who =
    role === 'relay' ? 'a relay' : relay ? 'an instance with BUS_RELAY=on' : 'an instance with BUS_RELAY=off'
  const findings: Finding[] = []
  if (lacking.length > 0) {
    const other =
      role === 'instance' && relay && toSay.every((subject) => refused.publish.has(subject))
        ? '; or set BUS_RELAY=off, if it is not to relay'
        : ''
    findings.push(problem(CHECK, `BUS_URL: ${who} may not ${lacking.join(', ')}`, SAMPLE + other))
  } else findings.push(ok(CHECK, `${who} may do all it needs`))
  if (!relays && !refused.publish.has(user))
    findings.push(
      warning(
        CHECK,
        'BUS_RELAY is off, but these credentials may publish: who gets hold of them can make events up',
        'give them the rights of the user instance in deploy/nats.conf',
      ),
    )
  else if (production && !refused.publish.has(elsewhere))
    findings.push(
      warning(
        CHECK,
        'these credentials may publish on every subject of the NATS servers',
        'limit them as deploy/nats.conf does; everybody who may publish can make events up',
      ),
    )
  return findings
}
