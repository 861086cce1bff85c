import { defineConfig } from 'vitest/config'

/** What needs no Postgres, no browser and no process of its own: what `npm run test:mutation` runs again and again. */
const UNITS = [
  'test/auth/{claims,compact,development-secret,identity-cache,plain-token,verifier}.test.ts',
  'test/hub/*.test.ts',
  'test/limits/*.test.ts',
  'test/transport/*.test.ts',
  'test/bus/{payload,database-clock,reading-pace,routing}.test.ts',
  'test/store/{batch-loader,write-queue}.test.ts',
  'test/client/{sse-parser,resume,listeners,one-user,outside,storage,token-service}.test.ts',
]

export default defineConfig({ test: { include: UNITS, testTimeout: 10_000 } })
