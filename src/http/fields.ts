import { z } from 'zod'
import { TOKEN_MAX_SECONDS } from '../auth/issue-token.ts'
import { GlimpseError } from '../errors.ts'
import { isUserId, parseResumePoint } from '../event.ts'
import { fullyQualified } from './emoji.ts'

// These schemas are also what /openapi.json shows. What JSON Schema cannot derive from a refinement stands in its
// `meta`, which checks nothing here.

/** Postgres text cannot contain NUL, and UTF-8 no lone surrogate: either would fail a whole batch. */
const STORABLE_TEXT = /^[^\0\ud800-\udfff]*$/u

const MAX_TEXT_CHARACTERS = 2000
/** In UTF-16 code units; the longest emoji has 15. */
const MAX_EMOJI_LENGTH = 64

export const NewStoryBody = z.strictObject({
  text: z
    .string('must be a string')
    .refine((text) => [...text].length <= MAX_TEXT_CHARACTERS, 'must be at most 2,000 characters long')
    .regex(STORABLE_TEXT, 'must not contain NUL or unpaired surrogates')
    .meta({ maxLength: MAX_TEXT_CHARACTERS })
    .nullish(),
  expires_in: z
    .int('must be a whole number of seconds from 1 to 604800')
    .min(1, 'must be a whole number of seconds from 1 to 604800')
    .max(604_800, 'must be a whole number of seconds from 1 to 604800')
    .optional()
    .meta({ description: 'Seconds until it expires; a day unless given.' }),
})

export const ReactionBody = z.strictObject({
  emoji: z
    .string('must be one emoji')
    .transform((text) => (text.length <= MAX_EMOJI_LENGTH ? fullyQualified(text) : undefined))
    .refine((emoji) => emoji !== undefined, 'must be one emoji')
    .meta({
      description:
        'One emoji that Unicode recommends for interchange (UTS #51, RGI), with or without variation selectors (U+FE0F); it is stored and answered in its fully-qualified form.',
      minLength: 1,
      maxLength: MAX_EMOJI_LENGTH,
      examples: ['❤️'],
    }),
})

export const ReadBody = z.strictObject({
  cursor: z
    .string('must be a cursor, the id of an event')
    .transform((text) => parseResumePoint(text))
    .refine((point) => point.from === 'cursor', 'must be a cursor, the id of an event')
    .meta({ description: 'Everything up to here is read.', examples: ['7f3a9c.42.73475cb'] }),
})

export const NewTokenBody = z.strictObject({
  user: z
    .string('must be a string')
    .refine(isUserId, 'must be 1 to 255 characters, none of them a control character')
    .meta({ minLength: 1, maxLength: 255, pattern: '^[^\\p{Cc}\\p{Cs}]*$', examples: ['alice'] }),
  expires_in: z
    .int('must be a whole number of seconds')
    .min(1, 'must be at least 1 second')
    .max(TOKEN_MAX_SECONDS, `must be at most ${TOKEN_MAX_SECONDS} seconds`)
    .optional()
    .meta({ description: 'Seconds until it expires; an hour unless given.' }),
})

/** Parses a body by its schema; the first fault becomes `invalid_field`, with the field's name. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  if (issue?.code === 'unrecognized_keys') {
    const field = issue.keys[0] ?? ''
    throw new GlimpseError('invalid_field', { field, detail: `${field} is not a field of this request.` })
  }
  const field = issue?.path.join('.') || 'body'
  throw new GlimpseError('invalid_field', {
    field,
    detail: field === 'body' ? 'The body must be a JSON object.' : `${field} ${issue?.message}.`,
  })
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** A connection's id from the path. Throws `unknown_connection` if it is no UUID. */
export function connectionId(text: string | undefined): string {
  const id = text?.toLowerCase() ?? ''
  if (!UUID.test(id)) throw unknownConnection()
  return id
}

export const unknownConnection = () =>
  new GlimpseError('unknown_connection', { detail: 'You have no such connection.' })

/** The id that a client gives a new story, in lower case. */
export function newStoryId(text: string | undefined): string {
  const id = text?.toLowerCase() ?? ''
  if (!UUID.test(id)) throw new GlimpseError('invalid_field', { field: 'id', detail: 'id must be a UUID.' })
  return id
}

/** A story's id from the path, in lower case. Throws `unknown_story` if it is no UUID, because no story has such an id. */
export function storyId(text: string | undefined): string {
  const id = text?.toLowerCase() ?? ''
  if (!UUID.test(id)) throw new GlimpseError('unknown_story', { detail: 'There is no such story.' })
  return id
}
