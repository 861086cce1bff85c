# Instances behind an Application Load Balancer of AWS, in Terraform. It was written from AWS' and the provider's documentation
# and has not been run. Listeners, subnets, security groups and targets are yours.
resource "aws_lb" "glimpse" {
  name               = "glimpse"
  load_balancer_type = "application"
  # Several heartbeats (HEARTBEAT_INTERVAL_MS, 15 s), and less than KEEP_ALIVE_TIMEOUT_MS (75 s): a balancer that reuses a
  # connection which the service has just closed answers 502.
  idle_timeout = 60
  # It appends the client's address to X-Forwarded-For: TRUST_PROXY=1.
  xff_header_processing_mode = "append"
  preserve_host_header       = true
  # Access logs, where you switch them on, hold the query, and with it tokens: use tickets and TOKEN_IN_URL=off.
}

resource "aws_lb_target_group" "glimpse" {
  name             = "glimpse"
  port             = 8080
  protocol         = "HTTP"
  protocol_version = "HTTP1" # WebSockets
  target_type      = "ip"
  vpc_id           = var.vpc_id
  # By turns, an instance that has just restarted would stay empty beside one that holds thousands of streams.
  load_balancing_algorithm_type = "least_outstanding_requests"
  # Longer than DRAIN_TIMEOUT_MS: a deregistered instance tells its streams itself.
  deregistration_delay = 60

  health_check {
    path                = "/readyz"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}
