# What a Halyard broker keeps in AWS: a user pool, a table, and the policy for both.

variable "table_name" {
  type        = string
  default     = "rooms"
  description = "dynamodb_table of the broker"
}

resource "aws_dynamodb_table" "rooms" {
  name         = var.table_name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "room_id"

  attribute {
    name = "room_id"
    type = "S"
  }
  attribute {
    name = "created_by"
    type = "S"
  }
  attribute {
    name = "expires_at"
    type = "N"
  }

  global_secondary_index {
    name            = "by_owner"
    hash_key        = "created_by"
    range_key       = "expires_at"
    projection_type = "KEYS_ONLY"
  }

  ttl {
    attribute_name = "deleted_at"
    enabled        = true
  }

  lifecycle {
    # Rooms end by themselves; losing the table would end all of them at once.
    prevent_destroy = true
  }
}

resource "aws_cognito_user_pool" "users" {
  name              = "halyard"
  mfa_configuration = "OFF"

  admin_create_user_config {
    allow_admin_create_user_only = true
  }
}

resource "aws_cognito_user_pool_client" "broker" {
  name                          = "halyard-broker"
  user_pool_id                  = aws_cognito_user_pool.users.id
  generate_secret               = false
  explicit_auth_flows           = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
  prevent_user_existence_errors = "ENABLED"
  id_token_validity             = 24

  token_validity_units {
    id_token = "hours"
  }
}

data "aws_iam_policy_document" "broker" {
  statement {
    actions = [
      "dynamodb:DescribeTable",
      "dynamodb:DescribeTimeToLive",
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
    ]
    resources = [aws_dynamodb_table.rooms.arn]
  }
  statement {
    actions   = ["dynamodb:Query"]
    resources = ["${aws_dynamodb_table.rooms.arn}/index/by_owner"]
  }
  statement {
    actions = [
      "cognito-idp:DescribeUserPool",
      "cognito-idp:DescribeUserPoolClient",
      "cognito-idp:AdminCreateUser",
      "cognito-idp:AdminSetUserPassword",
      "cognito-idp:AdminInitiateAuth",
      "cognito-idp:AdminDeleteUser",
    ]
    resources = [aws_cognito_user_pool.users.arn]
  }
}

resource "aws_iam_policy" "broker" {
  name        = "halyard-broker"
  description = "What a Halyard broker does while it serves"
  policy      = data.aws_iam_policy_document.broker.json
}

output "cognito_user_pool_id" {
  value = aws_cognito_user_pool.users.id
}

output "cognito_app_client_id" {
  value = aws_cognito_user_pool_client.broker.id
}

# Attach it to the role of the machine or container that the broker runs on.
output "policy_arn" {
  value = aws_iam_policy.broker.arn
}
