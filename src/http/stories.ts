import { randomUUID } from 'node:crypto'
import { GlimpseError } from '../errors.ts'
import { type Recorded, removeReaction, unchangedReaction } from '../store/recording.ts'
import {
  createStory,
  deleteStory,
  getStory,
  lookForStory,
  type NewStory,
  type Story,
} from '../store/stories.ts'
import type { Answer } from './answer.ts'
import { readJson } from './body.ts'
import { authenticate, type Context, type Handler } from './context.ts'
import { NewStoryBody, newStoryId, parseBody, ReactionBody, storyId } from './fields.ts'
import { stored } from './stored.ts'

const DAY_SECONDS = 86_400

const unknownStory = () => new GlimpseError('unknown_story', { detail: 'There is no such story.' })
const expiredStory = () => new GlimpseError('expired_story', { detail: 'The story has expired.' })

function recordedAt(recorded: Recorded): { at: string; recorded: boolean } {
  if (recorded.outcome === 'unknown_story') throw unknownStory()
  if (recorded.outcome === 'expired_story') throw expiredStory()
  return { at: recorded.at, recorded: recorded.outcome === 'recorded' }
}

/** Undefined where the id is in use. */
async function publish(context: Context, story: NewStory): Promise<Story | undefined> {
  return context.app.limits.counted(
    'user_stories',
    story.authorId,
    () => stored(context, () => createStory(context.app.edits, story)),
    (created) => created !== undefined,
  )
}

async function storyOf(context: Context, id: string, authorId: string): Promise<NewStory> {
  const body = parseBody(NewStoryBody, await readJson(context))
  return { id, authorId, text: body.text ?? null, expiresInSeconds: body.expires_in ?? DAY_SECONDS }
}

const created = (story: Story) => ({
  status: 201,
  headers: { Location: `/stories/${story.id}` },
  body: story,
})

export const postStory: Handler = async (context) => {
  const { user } = await authenticate(context)
  const story = await publish(context, await storyOf(context, randomUUID(), user))
  if (story === undefined) throw new Error('a new UUID is in use')
  return created(story)
}

/** As POST, under an id of the caller's: whoever got no answer sends it again, and posts no second story. */
export const putStory: Handler = async (context) => {
  const { user } = await authenticate(context)
  const story = await storyOf(context, newStoryId(context.params.id), user)
  const look = () => stored(context, () => lookForStory(context.app.edits, story))
  // Before the quota is counted: a repetition posts nothing, and no quota may refuse it.
  let there = await look()
  if (there === 'nothing') {
    const posted = await publish(context, story)
    if (posted !== undefined) return created(posted)
    // Posted at this moment, perhaps by the same request that was sent twice.
    there = await look()
  }
  if (there !== 'same')
    throw new GlimpseError('story_exists', { field: 'id', detail: 'Another story has this id.' })
  return answerStory(context, story.id)
}

async function answerStory(context: Context, id: string): Promise<Answer> {
  const found = await stored(context, () => getStory(context.app.sql, id))
  if (found === undefined) throw unknownStory()
  if (found.expired) throw expiredStory()
  return { status: 200, body: found.story }
}

export const readStory: Handler = async (context) => {
  await authenticate(context)
  return answerStory(context, storyId(context.params.id))
}

export const removeStory: Handler = async (context) => {
  const { user } = await authenticate(context)
  const outcome = await stored(context, () =>
    deleteStory(context.app.edits, storyId(context.params.id), user),
  )
  if (outcome === 'unknown_story') throw unknownStory()
  if (outcome === 'forbidden')
    throw new GlimpseError('forbidden', { detail: 'Only its author may delete a story.' })
  return { status: 204 }
}

export const postView: Handler = async (context) => {
  const { user } = await authenticate(context)
  const id = storyId(context.params.id)
  const origin = context.app.tracing?.here()
  const { at, recorded } = recordedAt(await context.app.views.submit({ storyId: id, viewerId: user, origin }))
  return { status: 200, body: { story_id: id, viewer_id: user, viewed_at: at, recorded } }
}

export const postReaction: Handler = async (context) => {
  const { user } = await authenticate(context)
  const id = storyId(context.params.id)
  const { emoji } = parseBody(ReactionBody, await readJson(context))
  const reaction = { storyId: id, userId: user, emoji, origin: context.app.tracing?.here() }
  const { at, recorded } = recordedAt(
    await context.app.limits.counted(
      'reaction_changes',
      `${id} ${user}`,
      () => context.app.reactions.submit(reaction),
      ({ outcome }) => outcome === 'recorded',
      // Whoever got no answer to their last change sends it again, perhaps while it is still being written.
      () =>
        context.app.reactions.join(reaction) ??
        stored(context, () => unchangedReaction(context.app.sql, reaction)),
    ),
  )
  return { status: 200, body: { story_id: id, user_id: user, emoji, reacted_at: at, recorded } }
}

export const deleteReaction: Handler = async (context) => {
  const { user } = await authenticate(context)
  const outcome = await stored(context, () =>
    removeReaction(context.app.edits, storyId(context.params.id), user),
  )
  if (outcome === 'unknown_story') throw unknownStory()
  if (outcome === 'expired_story') throw expiredStory()
  return { status: 204 }
}
