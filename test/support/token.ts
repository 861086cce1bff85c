import { SignJWT } from 'jose'

/** The HS256 secret that every test instance verifies with. */
export const TEST_SECRET = 'a-secret-that-only-tests-know-of-0123456789'

/** Signs a token for `user`, expiring `expiresIn` seconds from now (an hour unless said otherwise). */
export function signToken(
  user: string,
  { expiresIn = 3600, secret = TEST_SECRET }: { expiresIn?: number; secret?: string } = {},
): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000 + expiresIn))
    .sign(new TextEncoder().encode(secret))
}
