# syntax=docker/dockerfile:1
ARG NODE=node:24-bookworm-slim

FROM ${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY scripts/build-client.ts scripts/
RUN npm run -s build

FROM ${NODE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# The optional ones are the embedded Postgres, which is for development.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${NODE}
LABEL org.opencontainers.image.title=Glimpse org.opencontainers.image.version=0.2.0 org.opencontainers.image.licenses=MIT
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY migrations migrations
COPY src/console src/console
# Nothing here is the service's own to write: a number, so that Kubernetes can tell that it isn't root.
USER 1000
EXPOSE 8080
# Alive, not ready: what restarts unhealthy containers must not restart all of them while the database is away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Node itself is process 1: a shell or npm in between would not pass SIGTERM on.
CMD ["node", "dist/main.js"]
