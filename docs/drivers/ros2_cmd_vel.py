#!/usr/bin/env python3
"""Drives a ROS 2 robot over /cmd_vel and tells its odometry and battery.

Not tried on a robot: only its syntax is checked. Source your ROS 2 first, put the robot on blocks,
and set the limits below to those of your robot.

halyard-worker run --server URL --video v4l2:/dev/video0 --driver "exec:python3 ros2_cmd_vel.py"
"""

import json
import math
import sys
import threading
import time

import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import BatteryState

VELOCITY = {"max_linear": 0.5, "max_reverse": 0.3, "max_angular": 1.0, "linear_acceleration": 0.5}


class CmdVel(Node):
    """Publishes what is good, and zero when nothing is."""

    def __init__(self):
        super().__init__("halyard")
        self.publisher = self.create_publisher(Twist, "cmd_vel", 10)
        self.create_subscription(Odometry, "odom", self.on_odometry, qos_profile_sensor_data)
        sensor = qos_profile_sensor_data
        self.create_subscription(BatteryState, "battery_state", self.on_battery, sensor)
        self.create_timer(0.05, self.turn)
        self.lock = threading.Lock()
        self.n, self.good_until, self.wish = 0, 0.0, (0.0, 0.0)
        self.state = {"speed": 0.0, "angular_speed": 0.0}

    def on_odometry(self, message: Odometry) -> None:
        at, turned = message.pose.pose.position, message.pose.pose.orientation
        heading = math.atan2(
            2 * (turned.w * turned.z + turned.x * turned.y),
            1 - 2 * (turned.y * turned.y + turned.z * turned.z),
        )
        with self.lock:
            self.state["pose"] = {"x": at.x, "y": at.y, "heading": heading}
            self.state["speed"] = message.twist.twist.linear.x
            self.state["angular_speed"] = message.twist.twist.angular.z

    def on_battery(self, message: BatteryState) -> None:
        if 0.0 <= message.percentage <= 1.0:
            with self.lock:
                self.state["battery"] = message.percentage

    def velocity(self, word: dict) -> None:
        with self.lock:
            self.n = word["n"]
            self.wish = (word["linear"], word["angular"])
            self.good_until = time.monotonic() + word["valid_ms"] / 1000
        self.publish()

    def stop(self) -> None:
        with self.lock:
            self.wish, self.good_until = (0.0, 0.0), 0.0
        self.publish()

    def publish(self) -> None:
        with self.lock:
            # Without a new velocity in time the robot stands still, whatever became of the worker.
            linear, angular = self.wish if time.monotonic() <= self.good_until else (0.0, 0.0)
        twist = Twist()
        twist.linear.x, twist.angular.z = linear, angular
        self.publisher.publish(twist)

    def turn(self) -> None:
        self.publish()
        with self.lock:
            say({"type": "state", "n": self.n, **self.state})


def say(word: dict) -> None:
    # NaN is no JSON: what the robot does not know is left out.
    good = {k: v for k, v in word.items() if not isinstance(v, float) or math.isfinite(v)}
    sys.stdout.write(json.dumps(good) + "\n")
    sys.stdout.flush()


def main() -> None:
    say({"type": "hello", "protocol": 1, "name": "ros2", "velocity": VELOCITY})
    rclpy.init()
    node = CmdVel()
    spinner = threading.Thread(target=rclpy.spin, args=(node,), daemon=True)
    spinner.start()
    try:
        for line in sys.stdin:
            word = json.loads(line)
            if word["type"] == "velocity":
                node.velocity(word)
            elif word["type"] == "stop":
                node.stop()
            elif word["type"] == "quit":
                break
    finally:
        node.stop()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
