import { GlimpseError } from '../errors.ts'
import { type Recorded, removeReaction } from '../store/recording.ts'
import { createStory, deleteStory, getStory } from '../store/stories.ts'
import { readJson } from './body.ts'
import { authenticate, type Handler } from './context.ts'
import { NewStoryBody, parseBody, ReactionBody, storyId } from './fields.ts'
import { stored } from './stored.ts'

const DAY_SECONDS = 86_400

const unknownStory = () => new GlimpseError('unknown_story', { detail: 'There is no such story.' })
const expiredStory = () => new GlimpseError('expired_story', { detail: 'The story has expired.' })

function recordedAt(recorded: Recorded): { at: string; recorded: boolean } {
  if (recorded.outcome === 'unknown_story') throw unknownStory()
  if (recorded.outcome === 'expired_story') throw expiredStory()
  return { at: recorded.at, recorded: recorded.outcome === 'recorded' }
}

export const postStory: Handler = async (context) => {
  const { user } = await authenticate(context)
  const body = parseBody(NewStoryBody, await readJson(context))
  const story = await context.app.limits.counted('user_stories', user, () =>
    stored(context, () =>
      createStory(context.app.edits, {
        authorId: user,
        text: body.text ?? null,
        expiresInSeconds: body.expires_in ?? DAY_SECONDS,
      }),
    ),
  )
  return { status: 201, headers: { Location: `/stories/${story.id}` }, body: story }
}

export const readStory: Handler = async (context) => {
  await authenticate(context)
  const found = await stored(context, () => getStory(context.app.sql, storyId(context.params.id)))
  if (found === undefined) throw unknownStory()
  if (found.expired) throw expiredStory()
  return { status: 200, body: found.story }
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
  const origin = context.app.tracing?.here()
  const { at, recorded } = recordedAt(
    await context.app.limits.counted(
      'reaction_changes',
      `${id} ${user}`,
      () => context.app.reactions.submit({ storyId: id, userId: user, emoji, origin }),
      ({ outcome }) => outcome === 'recorded',
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
