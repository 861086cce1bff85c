import { z } from 'zod'
import { GlimpseError } from '../errors.ts'

/** Postgres keeps no NUL in text, and UTF-8 no lone surrogate: either would fail a whole batch. */
const storableText = (text: string) => !/[\0\p{Surrogate}]/u.test(text)

// One RGI emoji sequence (UTS #51 ED-27).
const EMOJI = /^\p{RGI_Emoji}$/v

export const NewStoryBody = z.strictObject({
  text: z
    .string('must be a text')
    .refine((text) => [...text].length <= 2000, 'must be at most 2,000 characters long')
    .refine(storableText, 'must not contain NUL or unpaired surrogates')
    .nullish(),
  expires_in: z
    .int('must be a whole number of seconds from 1 to 604800')
    .min(1, 'must be a whole number of seconds from 1 to 604800')
    .max(604_800, 'must be a whole number of seconds from 1 to 604800')
    .optional(),
})

export const ReactionBody = z.strictObject({
  emoji: z
    .string('must be one emoji')
    .refine((text) => text.length <= 64 && EMOJI.test(text), 'must be one emoji'),
})

export const NewTokenBody = z.strictObject({
  user: z.string('must be a text'),
  expires_in: z.int('must be a whole number of seconds').optional(),
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

/** A story's id from the path, in lower case. What is no UUID names no story, so it is unknown rather than invalid. */
export function storyId(text: string | undefined): string {
  const id = text?.toLowerCase() ?? ''
  if (!UUID.test(id)) throw new GlimpseError('unknown_story', { detail: 'There is no such story.' })
  return id
}
