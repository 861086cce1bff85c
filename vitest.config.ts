import { configDefaults, defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // `npm run test:field` runs these, with what they need.
    exclude: [
      ...configDefaults.exclude,
      ...(process.env.GLIMPSE_FIELD === undefined ? ['test/field/**'] : []),
    ],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    // A machine that others share stands still for seconds now and then: what fails twice is broken, and a retry is reported.
    retry: process.env.CI === 'true' ? 1 : 0,
  },
})
