import type { Sql } from 'postgres'

/** Writes as anybody with a Postgres connection may: plain SQL on the tables, nothing of the service in between. */
export async function insertStory(sql: Sql, author: string): Promise<string> {
  const [row] = await sql`insert into glimpse.stories (author_id) values (${author}) returning id`
  return row?.id
}

/** One statement for all viewers. */
export async function insertViews(sql: Sql, story: string, viewers: readonly string[]): Promise<void> {
  await sql`insert into glimpse.story_views (story_id, viewer_id) select ${story}, unnest(${viewers as string[]}::text[])`
}

export async function insertReaction(sql: Sql, story: string, user: string, emoji: string): Promise<void> {
  await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) values (${story}, ${user}, ${emoji})`
}

/** A user's log as the tables have it: what every delivery is measured against. */
export async function readLog(sql: Sql, user: string): Promise<{ seq: number; body: string }[]> {
  const rows = await sql`select seq, body from glimpse.events where user_id = ${user} order by seq`
  return rows.map(({ seq, body }) => ({ seq: Number(seq), body }))
}

/** 1, 2, 3 … count: what a stream without a gap or a repetition reads. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1)
}
