import { defineConfig } from 'vitest/config'

/** What needs no Postgres, no browser and no process of its own: what `npm run test:mutation` runs again and again. */
const UNITS = [
  'test/auth/{claims,compact,development-secret,identity-cache,plain-token,remote-keys,verifier}.test.ts',
  'test/event.test.ts',
  'test/hub/*.test.ts',
  'test/limits/*.test.ts',
  'test/transport/*.test.ts',
  'test/bus/{payload,database-clock,reading-pace,routing}.test.ts',
  'test/store/{batch-loader,batching,write-queue}.test.ts',
  'test/client/{listeners,one-user,outside,resume,session,sse-parser,storage,token-service}.test.ts',
  'test/client/{connection-life,cursor-saver,handoff,messages,pauses,position,recovery,stream,tokens,transport-fallback,unread}.test.ts',
]

export default defineConfig({ test: { include: UNITS, testTimeout: 10_000 } })
