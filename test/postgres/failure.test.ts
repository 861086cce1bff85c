import postgres from 'postgres'
import { expect, it } from 'vitest'
import { GlimpseError } from '../../src/errors.ts'
import { ConnectionError } from '../../src/postgres/connection-error.ts'
import { asGlimpseError, failureKind } from '../../src/postgres/failure.ts'

/** An error as the driver makes it of what Postgres sent. */
function sent(code: string): Error {
  return Object.assign(new postgres.PostgresError(`error ${code}`), { code })
}
function system(code: string): Error {
  return Object.assign(new Error(code), { code, syscall: 'connect', errno: -1 })
}

it.each([
  // connection_exception, insufficient_resources, operator_intervention, query_canceled
  ...[
    '08000',
    '08006',
    '08P01',
    '53000',
    '53100',
    '53200',
    '53300',
    '57P01',
    '57P02',
    '57P03',
    '57P05',
    '57014',
  ].map((code) => ['unavailable', sent(code)] as const),
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'EADDRNOTAVAIL',
    'EMFILE',
    'ENOTFOUND',
    'EAI_AGAIN',
    'ETIMEDOUT',
  ].map((code) => ['unavailable', system(code)] as const),
  ['unavailable', Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })],
  ['unavailable', Object.assign(new Error(), { code: 'CONNECTION_CLOSED' })],
  ...(['TIMEOUT', 'CLOSED', 'ENDED', 'STANDBY'] as const).map(
    (code) => ['unavailable', new ConnectionError(code, code)] as const,
  ),
  ...['55P03', '40P01', '40001'].map((code) => ['contention', sent(code)] as const),
  ...['22021', '23503', '21000', '54000', 'P0001'].map((code) => ['row', sent(code)] as const),
  ['vanished', Object.assign(sent('23503'), { schema_name: 'glimpse' })],
  // undefined_table, insufficient_privilege, undefined_function, invalid_password, no database, disk error, read only
  ...[
    '42P01',
    '42501',
    '42883',
    '42703',
    '28P01',
    '28000',
    '3D000',
    '58030',
    'XX000',
    '25006',
    '0A000',
    '55000',
  ].map((code) => ['fault', sent(code)] as const),
  ['fault', new ConnectionError('TLS', 'a refused certificate')],
  ['fault', new TypeError('x is not a function')],
  ['fault', Object.assign(new TypeError('bad'), { code: 'ERR_INVALID_ARG_TYPE' })],
  ['fault', undefined],
] as const)('%s: %s', (kind, error) => {
  expect(failureKind(error)).toBe(kind)
  expect(asGlimpseError(error).code).toBe(
    {
      row: 'internal',
      vanished: 'unknown_story',
      contention: 'busy',
      unavailable: 'unavailable',
      fault: 'internal',
    }[kind],
  )
})

it('leaves an error of ours as it is', () => {
  const error = new GlimpseError('overloaded')
  expect(asGlimpseError(error)).toBe(error)
})
