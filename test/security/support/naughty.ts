import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const path = createRequire(import.meta.url).resolve('big-list-of-naughty-strings/blns.json')

/** The Big List of Naughty Strings. */
export const NAUGHTY = JSON.parse(readFileSync(path, 'utf8')) as readonly string[]
