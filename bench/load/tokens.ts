import { createHmac } from 'node:crypto'

/** What every contender is started with. Not a secret: it signs nothing outside a benchmark. */
export const JWT_SECRET = 'the benchmark signs with this and nothing else does'

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const header = encode({ alg: 'HS256', typ: 'JWT' })

/** An HS256 token. The same user and hour give the same token, so that processes need not send them to each other. */
export function signToken(user: string): string {
  const hour = Math.floor(Date.now() / 3_600_000)
  const claims = encode({ sub: user, exp: (hour + 24) * 3600 })
  const signature = createHmac('sha256', JWT_SECRET).update(`${header}.${claims}`).digest('base64url')
  return `${header}.${claims}.${signature}`
}
