-- The tables and the trigger one would write first: a row, a trigger, a NOTIFY. No stream, no numbers, no log.
CREATE TABLE stories (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  author_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours'
);

CREATE TABLE story_views (
  story_id uuid NOT NULL REFERENCES stories ON DELETE CASCADE,
  viewer_id text NOT NULL,
  viewed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (story_id, viewer_id)
);

CREATE FUNCTION announce_view() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  author text;
BEGIN
  SELECT author_id INTO author FROM stories WHERE id = NEW.story_id;
  IF author <> NEW.viewer_id THEN
    PERFORM pg_notify('story_events', json_build_object(
      'user_id', author,
      'type', 'story.viewed',
      'data', json_build_object('story_id', NEW.story_id, 'viewer_id', NEW.viewer_id, 'viewed_at', NEW.viewed_at),
      'timestamp', NEW.viewed_at
    )::text);
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER announce_view AFTER INSERT ON story_views FOR EACH ROW EXECUTE FUNCTION announce_view();
