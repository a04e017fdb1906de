# Makes the fixtures beside this file: data as .csv, what lme4 and lmerTest make of them as fits.json.
# Run once, in this folder: Rscript make_fixtures.R
suppressMessages({library(lme4); library(lmerTest); library(jsonlite)})

# Counts of three heads: integers around a mean that the random effects move.
counts <- function(mean, noise = 3) {
  sapply(1:3, function(head) pmax(1, round(10 + head * mean(head) + rnorm(length(mean(head)), sd = noise))))
}

balanced <- function() {
  sequence <- rep(1:24, each = 8)
  condition <- as.integer(sequence <= 12)
  shared <- matrix(rnorm(24 * 3, sd = 1.5), 24)
  y <- counts(function(head) 0.8 * condition + shared[sequence, head])
  data.frame(sequence, condition, y)
}

unbalanced <- function() {
  size <- c(2, 3, 5, 7, 11, 13, 4, 6, 9, 1, 8, 12, 10, 3, 5, 14, 2, 6, 7, 9, 4, 8, 1, 15, 6)
  sequence <- rep(seq_along(size), size)
  condition <- as.integer(sequence %% 2 == 0)
  zipf <- round(rnorm(25, mean = 3 + (1:25 %% 2), sd = 1), 3)[sequence]
  position <- round(runif(length(sequence)), 3)
  shared <- matrix(rnorm(25 * 3), 25)
  y <- counts(function(head) condition - 0.5 * zipf + 2 * position + shared[sequence, head])
  data.frame(sequence, condition, zipf, position, y)
}

singular <- function() {
  sequence <- rep(1:20, times = rep(c(5, 9), 10))
  condition <- as.integer(sequence <= 10)
  # Less variance between the sequences than chance would leave.
  y <- sapply(1:3, function(head) {
    noise <- rnorm(length(sequence), sd = 3)
    noise <- noise - 0.9 * ave(noise, sequence)
    round(12 + condition + noise)
  })
  data.frame(sequence, condition, y)
}

crossed <- function() {
  sequence <- rep(1:20, each = 10)
  condition <- as.integer(sequence %% 2 == 0)
  cluster <- sample(rep(1:12, length.out = 200))
  drop <- sample(200, 35)
  a <- matrix(rnorm(20 * 3), 20)
  b <- matrix(rnorm(12 * 3, sd = 1.2), 12)
  y <- counts(function(head) 0.7 * condition + a[sequence, head] + b[cluster, head])
  data.frame(sequence, cluster, condition, y)[-drop, ]
}

nested <- function() {
  sequence <- rep(1:40, times = rep(c(4, 6, 7, 5, 3), 8))
  cluster <- (sequence + 3) %/% 4
  condition <- as.integer(sequence %% 2 == 0)
  zipf <- round(rnorm(40), 3)[sequence]
  a <- matrix(rnorm(40 * 3), 40)
  b <- matrix(rnorm(11 * 3, sd = 1.2), 11)
  y <- counts(function(head) 0.7 * condition + 0.3 * zipf + a[sequence, head] + b[cluster, head])
  data.frame(sequence, cluster, condition, zipf, y)
}

paired <- function() {
  pair <- rep(1:25, each = 10)
  condition <- rep(rep(0:1, each = 5), 25)
  drop <- sample(250, 30)
  a <- matrix(rnorm(25 * 3, sd = 1.3), 25)
  s <- matrix(rnorm(25 * 3, sd = 1.1), 25) - 0.4 * a
  y <- counts(function(head) (0.6 + s[pair, head]) * condition + a[pair, head])
  data.frame(pair, condition, y)[-drop, ]
}

paired_sequences <- function() {
  sequence <- rep(1:96, times = rep(c(3, 4, 5, 4), 24))
  cluster <- (sequence + 7) %/% 8
  condition <- as.integer(sequence %% 2 == 0)
  a <- matrix(rnorm(12 * 3, sd = 1.3), 12)
  s <- matrix(rnorm(12 * 3, sd = 1.2), 12)
  b <- matrix(rnorm(96 * 3), 96)
  y <- counts(function(head) (0.6 + s[cluster, head]) * condition + a[cluster, head] + b[sequence, head])
  data.frame(sequence, cluster, condition, y)
}

joint <- function() {
  grid <- expand.grid(head = 1:4, layer = 1:3, sequence = 1:30)
  grid$head <- grid$head + 4L * (grid$layer - 1L)
  grid$condition <- as.integer(grid$sequence > 14)
  a <- rnorm(12, sd = 2)
  s <- rnorm(12, sd = 0.6)
  b <- rnorm(30)
  w <- matrix(rnorm(30 * 3, sd = 0.7), 30)
  mean <- 20 + 0.5 * grid$layer + a[grid$head] + b[grid$sequence] + w[cbind(grid$sequence, grid$layer)]
  grid$y <- round(mean + (s[grid$head] + 0.4 * grid$layer) * grid$condition + rnorm(nrow(grid)), 3)
  grid
}

# lme4's optimizers stop when the deviance does; the degrees of freedom need theta itself. From where lme4 stops
# on lme4's own deviance, Newton steps with numDeriv's derivatives go on to the minimum of every parameter that
# is off its bound.
fit <- function(formula, data, reml) {
  parsed <- lFormula(formula, data, REML = reml)
  devfun <- do.call(mkLmerDevfun, parsed)
  start <- lmer(formula, data, REML = reml,
                control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.2, rhoend = 1e-9)))
  theta <- getME(start, "theta")
  bound <- getME(start, "lower") == 0 & theta < 1e-5
  theta[bound] <- 0
  free <- which(!bound)
  partial <- function(part) {
    theta[free] <- part
    devfun(theta)
  }
  for (step in seq_len(if (length(free)) 5 else 0)) {
    # Differences about zero have steps of one size, however small an entry of theta is.
    part <- theta[free]
    from <- function(move) partial(part + move)
    gradient <- numDeriv::grad(from, 0 * part, method.args = list(eps = 1e-3))
    theta[free] <- part - solve(numDeriv::hessian(from, 0 * part, method.args = list(eps = 1e-2)), gradient)
  }
  value <- devfun(theta)
  stopifnot(value <= -2 * as.numeric(logLik(start)) + 1e-6)
  optimum <- list(par = theta, fval = value, conv = 0, message = NULL)
  model <- mkMerMod(environment(devfun), optimum, parsed$reTrms, fr = parsed$fr, mc = quote(lmer()))
  # What lmerTest::lmer does with a fit of lme4.
  lmerTest:::as_lmerModLT(model, devfun)
}

describe <- function(model) {
  table <- coef(summary(model))
  variances <- as.data.frame(VarCorr(model))
  list(
    criterion = -2 * as.numeric(logLik(model)),
    theta = unname(getME(model, "theta")),
    singular = isSingular(model),
    names = rownames(table),
    estimate = unname(table[, "Estimate"]),
    se = unname(table[, "Std. Error"]),
    dof = unname(table[, "df"]),
    p = unname(table[, "Pr(>|t|)"]),
    variances = data.frame(group = variances$grp, name = paste0(ifelse(is.na(variances$var1), "", variances$var1),
      ifelse(is.na(variances$var2), "", paste0(":", variances$var2))), value = variances$vcov)
  )
}

RNGversion("4.2.0")
set.seed(20)
models <- list(
  balanced = list(balanced, "condition + (1 | sequence)"),
  unbalanced = list(unbalanced, "condition + zipf + position + (1 | sequence)"),
  singular = list(singular, "condition + (1 | sequence)"),
  crossed = list(crossed, "condition + (1 | sequence) + (1 | cluster)"),
  nested = list(nested, "condition + zipf + (1 | sequence) + (1 | cluster)"),
  paired = list(paired, "condition + (1 + condition | pair)"),
  paired_sequences = list(paired_sequences, "condition + (1 + condition | cluster) + (1 | sequence)")
)
fits <- list()
for (name in names(models)) {
  data <- models[[name]][[1]]()
  names(data) <- sub("^X", "y", names(data))
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  for (reml in c(TRUE, FALSE)) for (head in paste0("y", 1:3)) {
    model <- fit(as.formula(paste(head, "~", models[[name]][[2]])), data, reml)
    fits[[name]][[if (reml) "reml" else "ml"]][[head]] <- describe(model)
  }
}

data <- joint()
write.csv(data, "joint.csv", row.names = FALSE, quote = FALSE)
data$layer <- factor(data$layer)
for (reml in c(TRUE, FALSE)) {
  model <- fit(y ~ condition * layer + (1 + condition | head) + (1 | sequence) + (1 | sequence:layer), data, reml)
  test <- contestMD(model, cbind(0, 0, 0, 0, diag(2)))
  fits$joint[[if (reml) "reml" else "ml"]] <- c(describe(model), list(interaction = list(
    statistic = test[["F value"]], dof_numerator = test$NumDF, dof_denominator = test$DenDF, p = test[["Pr(>F)"]])))
}
fits$versions <- list(R = R.version$version.string, lme4 = as.character(packageVersion("lme4")),
  lmerTest = as.character(packageVersion("lmerTest")))
write_json(fits, "fits.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
